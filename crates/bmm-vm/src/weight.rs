//! How much work a module makes for the compiler, estimated before it is compiled.
//!
//! Compiling is linear in the length of honest code, but not of every code: a call moves up to a thousand values with two
//! bytes, and every variable that is alive across a block has to be joined there. A module of 60 kB was built that kept the
//! compiler busy for minutes with gigabytes of memory. One unit stands for about a microsecond and 100 bytes.

use wasmparser::{BinaryReaderError, BlockType, FunctionBody, Operator};

/// Units for a value that a call takes or gives: it is moved to its place and back.
const CALL_VALUE: u64 = 4;
/// Values that a branch carries along for one unit.
const BRANCH_VALUES: u64 = 8;
/// Pairs of a block and a variable that may have to be joined there, for one unit.
const JOINS: u64 = 2;
/// The square of a function's blocks costs one unit for this many.
const BLOCK_PAIRS: u64 = 512;
/// The square of a function's loops costs one unit for this many.
const LOOP_PAIRS: u64 = 32;

/// Counts the values that a function type takes and gives.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Arity {
    pub params: u32,
    pub results: u32,
}

impl Arity {
    fn values(self) -> u64 {
        u64::from(self.params) + u64::from(self.results)
    }
}

/// Knows the types of a module. Indices that do not exist count for nothing: the module is refused by its validation.
#[derive(Debug, Default)]
pub(crate) struct Signatures {
    pub types: Vec<Arity>,
    /// Number of the type of each function, imported ones first.
    pub functions: Vec<u32>,
}

impl Signatures {
    fn of_type(&self, index: u32) -> Arity {
        self.types.get(index as usize).copied().unwrap_or_default()
    }

    /// Returns the arity of the function number `index`.
    pub fn of_function(&self, index: u32) -> Arity {
        self.functions.get(index as usize).map(|ty| self.of_type(*ty)).unwrap_or_default()
    }

    fn of_block(&self, ty: BlockType) -> Arity {
        match ty {
            BlockType::Empty => Arity::default(),
            BlockType::Type(_) => Arity { params: 0, results: 1 },
            BlockType::FuncType(index) => self.of_type(index),
        }
    }
}

/// Counts what one function is made of.
struct Scale<'a> {
    signatures: &'a Signatures,
    /// Values that a branch to each open label carries.
    labels: Vec<u32>,
    /// For each variable the block in which it was touched last, and whether it is read in a block that does not set it.
    variables: Vec<(u64, bool)>,
    exposed: u64,
    blocks: u64,
    loops: u64,
    linear: u64,
    branch_values: u64,
}

/// Estimates the work of compiling one function with `locals` variables besides its parameters.
pub(crate) fn of_function(
    body: &FunctionBody<'_>,
    own: Arity,
    locals: u64,
    signatures: &Signatures,
) -> Result<u64, BinaryReaderError> {
    let variables = usize::try_from(locals).unwrap_or(usize::MAX).saturating_add(own.params as usize);
    let mut scale = Scale {
        signatures,
        labels: vec![own.results],
        variables: vec![(1, false); variables],
        exposed: 0,
        blocks: 1,
        loops: 0,
        linear: own.values().saturating_mul(CALL_VALUE),
        branch_values: 0,
    };
    for operator in body.get_operators_reader()? {
        scale.add(&operator?);
    }
    Ok(scale.units())
}

impl Scale<'_> {
    fn units(&self) -> u64 {
        let square = |count: u64| count.saturating_mul(count);
        [
            self.branch_values / BRANCH_VALUES,
            self.exposed.saturating_mul(self.blocks) / JOINS,
            square(self.blocks) / BLOCK_PAIRS,
            square(self.loops) / LOOP_PAIRS,
        ]
        .into_iter()
        .fold(self.linear, u64::saturating_add)
    }

    fn add(&mut self, operator: &Operator<'_>) {
        self.linear += 1;
        match operator {
            Operator::LocalGet { local_index } => self.touch(*local_index, true),
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => self.touch(*local_index, false),
            Operator::Block { blockty } | Operator::If { blockty } => {
                let arity = self.signatures.of_block(*blockty);
                self.open(arity, arity.results);
            }
            Operator::Loop { blockty } => {
                self.loops += 1;
                let arity = self.signatures.of_block(*blockty);
                self.open(arity, arity.params);
            }
            Operator::Else | Operator::Unreachable => self.blocks += 1,
            Operator::End => {
                self.blocks += 1;
                self.labels.pop();
            }
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                self.blocks += 1;
                self.branch(*relative_depth);
            }
            Operator::BrTable { targets } => {
                self.blocks += 1;
                self.linear += u64::from(targets.len());
                targets.targets().flatten().chain([targets.default()]).for_each(|depth| self.branch(depth));
            }
            Operator::Return => {
                self.blocks += 1;
                self.branch_values += u64::from(self.labels.first().copied().unwrap_or_default());
            }
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                self.linear += self.signatures.of_function(*function_index).values() * CALL_VALUE;
            }
            Operator::CallIndirect { type_index, .. }
            | Operator::ReturnCallIndirect { type_index, .. }
            | Operator::CallRef { type_index }
            | Operator::ReturnCallRef { type_index } => {
                self.linear += self.signatures.of_type(*type_index).values() * CALL_VALUE;
            }
            _ => {}
        }
    }

    /// Opens a label whose branches carry `carried` values.
    fn open(&mut self, arity: Arity, carried: u32) {
        self.blocks += 1;
        self.branch_values += arity.values();
        self.labels.push(carried);
    }

    fn branch(&mut self, depth: u32) {
        let label = self.labels.len().checked_sub(1).and_then(|last| last.checked_sub(depth as usize));
        self.branch_values += label.map_or(0, |at| u64::from(self.labels[at]));
    }

    fn touch(&mut self, variable: u32, is_read: bool) {
        let Some((block, exposed)) = self.variables.get_mut(variable as usize) else { return };
        if is_read && *block != self.blocks && !*exposed {
            *exposed = true;
            self.exposed += 1;
        }
        *block = self.blocks;
    }
}
