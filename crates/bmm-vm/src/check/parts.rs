//! Which components become programs: what they are made of, and where they begin.
//!
//! A component may instantiate others that lie within it, each time anew, and those may do so again: a few hundred bytes
//! can stand for millions of instances. Tools that make components of modules put others inside only to give names to
//! functions. So that is what is allowed: one level of components without code, which are counted each time.

use wasmparser::{ComponentInstance, Encoding, Instance, Payload};
use wasmtime::component::types::{ComponentItem, Type};
use wasmtime::component::{Component, ComponentExportIndex};

use super::{at_most, malformed};
use crate::error::ModuleError;

/// Most modules of a component that are instantiated. Programs linked of many libraries have about 50.
pub(crate) const MAX_CORE_INSTANCES: u32 = 128;
/// Most memories of a component.
pub(crate) const MAX_COMPONENT_MEMORIES: u32 = 2;
/// Most modules within a component.
const MAX_MODULES: u64 = 128;
/// Most components within a component.
const MAX_COMPONENTS: u64 = 128;
/// Most parts (types, imports, functions, aliases, exports and so on), those of inner components counted each time that they are instantiated.
const MAX_PARTS: u64 = 20_000;
/// Most bytes that describe types: checking one may take the product of its levels.
const MAX_TYPE_BYTES: u64 = 256 << 10;

/// Interface of commands, without its version.
const RUN: &str = "wasi:cli/run";

/// Counts what a component is made of.
#[derive(Default)]
pub(super) struct Parts {
    /// What is open: the outermost first.
    open: Vec<Encoding>,
    modules: u64,
    components: u64,
    core_instances: u64,
    type_bytes: u64,
    /// Parts of the outermost component with all that it instantiates.
    outer: u64,
    /// Parts of the inner component that is open, and the most that one had.
    inner: u64,
    largest_inner: u64,
}

impl Parts {
    /// Checks the next part of a program; what belongs to modules is passed over.
    pub fn check(&mut self, payload: &Payload<'_>) -> Result<(), ModuleError> {
        match payload {
            Payload::Version { encoding, .. } => self.open.push(*encoding),
            Payload::End(_) => {
                self.open.pop();
            }
            Payload::ModuleSection { .. } => {
                self.modules += 1;
                at_most("modules", self.modules, MAX_MODULES)?;
            }
            Payload::ComponentSection { .. } => {
                self.components += 1;
                self.inner = 0;
                at_most("inner components", self.components, MAX_COMPONENTS)?;
                at_most("levels of components", self.open.len() as u64 + 1, 2)?;
            }
            Payload::InstanceSection(section) => {
                self.add(section.count().into())?;
                for instance in section.clone() {
                    if let Instance::Instantiate { .. } = instance.map_err(malformed)? {
                        self.outermost()?;
                        self.core_instances += 1;
                        at_most("instances of modules", self.core_instances, MAX_CORE_INSTANCES.into())?;
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                self.add(section.count().into())?;
                for instance in section.clone() {
                    if let ComponentInstance::Instantiate { .. } = instance.map_err(malformed)? {
                        self.outermost()?;
                        self.add(self.largest_inner)?;
                    }
                }
            }
            Payload::CoreTypeSection(section) => self.types(section.count(), &section.range())?,
            Payload::ComponentTypeSection(section) => self.types(section.count(), &section.range())?,
            Payload::ComponentImportSection(section) => self.add(section.count().into())?,
            Payload::ComponentExportSection(section) => self.add(section.count().into())?,
            Payload::ComponentAliasSection(section) => self.add(section.count().into())?,
            Payload::ComponentCanonicalSection(section) => self.add(section.count().into())?,
            _ => {}
        }
        Ok(())
    }

    /// Only the outermost component may do what is to be done now.
    fn outermost(&self) -> Result<(), ModuleError> {
        if self.open.len() > 1 { Err(ModuleError::Composed) } else { Ok(()) }
    }

    /// Counts types and the bytes that describe them.
    fn types(&mut self, count: u32, range: &std::ops::Range<usize>) -> Result<(), ModuleError> {
        self.type_bytes = self.type_bytes.saturating_add(range.len() as u64);
        at_most("bytes of types", self.type_bytes, MAX_TYPE_BYTES)?;
        self.add(count.into())
    }

    /// Counts parts of the component that is open.
    fn add(&mut self, count: u64) -> Result<(), ModuleError> {
        let parts = if self.open.len() > 1 { &mut self.inner } else { &mut self.outer };
        *parts = parts.saturating_add(count);
        at_most("parts", *parts, MAX_PARTS)?;
        self.largest_inner = self.largest_inner.max(self.inner);
        Ok(())
    }
}

/// A program that is a component exports `wasi:cli/run` with a function `run` that takes nothing and tells whether it succeeded.
pub(crate) fn run_export(component: &Component) -> Result<ComponentExportIndex, ModuleError> {
    let (engine, ty) = (component.engine(), component.component_type());
    let mut names = Vec::new();
    for (name, item) in ty.exports(engine) {
        if name.split_once('@').is_some_and(|(interface, version)| interface == RUN && version.starts_with("0.2."))
            && let ComponentItem::ComponentInstance(instance) = item.ty
            && let Some(run) = instance.get_export(engine, "run")
            && let ComponentItem::ComponentFunc(run) = run.ty
            && is_run(&run)
        {
            let instance = component.get_export_index(None, name);
            if let Some(run) = instance.and_then(|instance| component.get_export_index(Some(&instance), "run")) {
                return Ok(run);
            }
        }
        if names.len() < 8 {
            names.push(format!("`{name}`"));
        }
    }
    let exports = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    Err(ModuleError::NoRun { exports })
}

/// Tells whether a function has the type of `run`.
fn is_run(function: &wasmtime::component::types::ComponentFunc) -> bool {
    let results: Vec<Type> = function.results().collect();
    let plain = |ty: &Type| matches!(ty, Type::Result(ty) if ty.ok().is_none() && ty.err().is_none());
    !function.async_() && function.params().len() == 0 && matches!(results.as_slice(), [only] if plain(only))
}
