//! Makes jobs of what chains want worked on: a parent's template or none, and a block of each merge-mined chain.

use super::{
    aux_chain::{AuxWork, Effort},
    coinbase::{Output, Plan},
    template::ParentTemplate,
    tree::ChainTree,
};
use crate::{
    effort::EpochWork,
    job::{ChainWork, Job},
};
use alloy_primitives::B256;
use bmm_pow::auxpow::merkle::reversed;
use std::{collections::VecDeque, sync::Arc};

/// Jobs whose blocks can still be put together.
const MAX_KEPT: usize = 256;
/// Version of a synthetic parent: BIP 9's base. As a chain id it reads 0x2000, which is nobody's.
const SYNTHETIC_VERSION: u32 = 0x2000_0000;
/// Script of a synthetic parent's output of nothing to nobody: OP_RETURN.
const NOBODY: [u8; 1] = [0x6a];

/// What a parent wants worked on.
#[derive(Clone, Debug)]
pub struct ParentWork {
    /// Its name.
    pub name: Arc<str>,
    /// Its index among the pool's parents.
    pub index: usize,
    /// Its template.
    pub template: Arc<ParentTemplate>,
    /// Who is paid.
    pub script: Arc<[u8]>,
}

/// A merge-mined chain's name and the block that it wants worked on.
pub type AuxNews = (Arc<str>, AuxWork);

/// A merge-mined chain's part of a job.
#[derive(Clone, Debug)]
pub struct AuxPart {
    /// Its name.
    pub name: Arc<str>,
    /// Its block.
    pub work: AuxWork,
    /// Its slot in the tree.
    pub slot: u32,
    /// The branch from there to the root.
    pub branch: Vec<B256>,
}

/// What a job was made of: what its solutions are put together with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The parent; `None` for a synthetic one.
    pub parent: Option<ParentWork>,
    /// The merge-mined chains.
    pub aux: Vec<AuxPart>,
    /// The epoch's work, where hashes commit to it.
    pub effort: Option<EffortPart>,
}

/// An epoch's work as a part of a job.
#[derive(Clone, Debug)]
pub struct EffortPart {
    /// The chain whose node collects it.
    pub name: Arc<str>,
    /// Which of its nodes.
    pub node: usize,
    /// The work.
    pub work: Arc<EpochWork>,
    /// Its slot in the tree.
    pub slot: u32,
    /// The branch from there to the root.
    pub branch: Vec<B256>,
}

/// Makes jobs.
#[derive(Debug)]
pub struct Maker {
    tag: Vec<u8>,
    number: u64,
    /// The tips that the last job was made on.
    tips: Vec<(Arc<str>, B256)>,
    kept: VecDeque<(u64, Arc<Parts>)>,
    /// The epoch's work of the last job.
    effort: Option<Arc<EpochWork>>,
}

impl Maker {
    /// Begins with the job after `number`. `tag` stands in coinbases.
    pub fn new(tag: &str, number: u64) -> Self {
        Self { tag: tag.as_bytes().to_vec(), number, tips: Vec::new(), kept: VecDeque::new(), effort: None }
    }

    /// Makes the next job. `None` where there is nothing to work on, or two chains cannot be in one tree.
    pub fn make(&mut self, parent: Option<&ParentWork>, aux: &[AuxNews], now: u32) -> Option<Job> {
        let (tree, effort) = self.tree(aux)?;
        let nobody = || vec![Output { value: 0, script: NOBODY.to_vec() }];
        let outputs = parent.map_or_else(nobody, |parent| parent.template.outputs(&parent.script));
        let plan = Plan {
            height: parent.map(|parent| parent.template.height),
            commitment: tree.as_ref().map(|tree| &tree.commitment),
            tag: &self.tag,
            outputs: &outputs,
        };
        let (coinbase_head, coinbase_tail) = plan.halves();
        let first = aux.first().map(|(_, work)| work);
        let (version, previous, bits, time, branch) = match (parent, first) {
            (Some(ParentWork { template, .. }), _) => {
                (template.version, template.previous, template.bits, template.time, template.branch.clone())
            }
            // Nobody checks these: miners show them, and tell by them that the work is new.
            (None, Some(work)) => {
                (SYNTHETIC_VERSION, reversed(work.previous), work.target.to_compact(), now, Vec::new())
            }
            (None, None) => return None,
        };
        let tips = tips(parent, aux);
        // A chain that is new or gone is no reason to throw work away; a tip that has moved is.
        let moved = |(name, tip): &(Arc<str>, B256)| self.tips.iter().any(|(known, old)| known == name && old != tip);
        let changed_parent = self.tips.first().map(|(name, _)| name) != tips.first().map(|(name, _)| name);
        let clean = self.tips.is_empty() || changed_parent || tips.iter().any(moved);
        self.tips = tips;
        self.number = self.number.saturating_add(1);
        self.keep(parent, aux, tree, effort.is_some());
        let chains = chain_works(parent, aux);
        let number = self.number;
        Some(Job { number, coinbase_head, coinbase_tail, branch, version, previous, bits, time, clean, chains, effort })
    }

    /// Builds the tree of the merge-mined chains, with the epoch's work after them where one of them has it and it finds a place.
    fn tree(&mut self, aux: &[AuxNews]) -> Option<(Option<ChainTree>, Option<Arc<EpochWork>>)> {
        let mut chains: Vec<(u32, B256)> = aux.iter().map(|(_, work)| (work.chain_id, work.id)).collect();
        if chains.is_empty() {
            return Some((None, None));
        }
        if let Some(effort) = aux.iter().find_map(|(_, work)| work.effort) {
            chains.push((effort.chain_id, effort.leaf));
            if let Some(tree) = ChainTree::build(&chains) {
                return Some((Some(tree), Some(self.effort(effort))));
            }
            chains.pop();
        }
        ChainTree::build(&chains).map(|tree| (Some(tree), None))
    }

    /// Returns the work with the hashes that were found for it so far.
    fn effort(&mut self, effort: Effort) -> Arc<EpochWork> {
        let new = EpochWork::new(effort.leaf, effort.chain_id, effort.count);
        match &self.effort {
            Some(known) if **known == new => Arc::clone(known),
            _ => Arc::clone(self.effort.insert(Arc::new(new))),
        }
    }

    fn keep(&mut self, parent: Option<&ParentWork>, aux: &[AuxNews], tree: Option<ChainTree>, with_effort: bool) {
        let mut places = tree.map(|tree| tree.places).unwrap_or_default();
        let place = if with_effort { places.pop() } else { None };
        let whose = aux.iter().find(|(_, work)| work.effort.is_some());
        let effort = place.zip(whose).zip(self.effort.clone());
        let effort = effort.map(|(((slot, branch), (name, AuxWork { node, .. })), work)| EffortPart {
            name: Arc::clone(name),
            node: *node,
            work,
            slot,
            branch,
        });
        let part = |((name, work), (slot, branch)): (&AuxNews, (u32, Vec<B256>))| AuxPart {
            name: Arc::clone(name),
            work: work.clone(),
            slot,
            branch,
        };
        let parts = Parts { parent: parent.cloned(), aux: aux.iter().zip(places).map(part).collect(), effort };
        if self.kept.len() >= MAX_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((self.number, Arc::new(parts)));
    }

    /// Returns what a job was made of; `None` for one that is too old.
    pub fn parts(&self, number: u64) -> Option<Arc<Parts>> {
        self.kept.iter().find(|(kept, _)| *kept == number).map(|(_, parts)| Arc::clone(parts))
    }
}

fn tips(parent: Option<&ParentWork>, aux: &[AuxNews]) -> Vec<(Arc<str>, B256)> {
    let parent = parent.map(|parent| (Arc::clone(&parent.name), parent.template.previous));
    let aux = aux.iter().map(|(name, work)| (Arc::clone(name), work.previous));
    parent.into_iter().chain(aux).collect()
}

fn chain_works(parent: Option<&ParentWork>, aux: &[AuxNews]) -> Vec<ChainWork> {
    let parent = parent.map(|ParentWork { name, template, .. }| ChainWork {
        name: Arc::clone(name),
        height: template.height,
        target: template.target,
    });
    let aux =
        aux.iter().map(|(name, work)| ChainWork { name: Arc::clone(name), height: work.height, target: work.target });
    parent.into_iter().chain(aux).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::U256;
    use bmm_pow::{Difficulty, difficulty::Target, scrypt_hash, verify};
    use bmm_types::AuxPow;

    fn work(id: u8, previous: u8) -> AuxNews {
        let work = AuxWork {
            id: B256::repeat_byte(id),
            previous: B256::repeat_byte(previous),
            chain_id: 0x0bb3,
            target: Target::new(U256::MAX >> 3).expect("not zero"),
            height: 7,
            reward: 5,
            node: 0,
            effort: None,
        };
        ("bmm".into(), work)
    }

    #[test]
    fn a_synthetic_parent_proves_work_with_any_extra_nonces() {
        let mut maker = Maker::new("/pool/", 40);
        let job = maker.make(None, &[work(1, 2)], 1_900_000_000).expect("a job");
        assert_eq!((job.number, job.clean, job.chains.len()), (41, true, 1));
        let coinbase = job.coinbase([1, 2, 3, 4], [5; 8]);
        let parts = maker.parts(41).expect("kept");
        let solved = (0..).find_map(|nonce| {
            let header = job.header(&coinbase, job.version, job.time, nonce);
            job.chains[0].target.is_met_by(&scrypt_hash(&header)).then_some(header)
        });
        let aux = AuxPow {
            coinbase: coinbase.into(),
            coinbase_branch: job.branch.clone(),
            chain_branch: parts.aux[0].branch.clone(),
            chain_index: parts.aux[0].slot,
            parent_header: solved.expect("soon").into(),
        };
        let difficulty = Difficulty::new(U256::from(8)).expect("not zero");
        assert_eq!(verify(&aux, parts.aux[0].work.id, 0x0bb3, difficulty), Ok(()));
    }

    #[test]
    fn only_a_moved_tip_makes_old_work_worthless() {
        let mut maker = Maker::new("", 0);
        let mut clean = |id, previous| maker.make(None, &[work(id, previous)], 1).expect("a job").clean;
        assert_eq!([clean(1, 1), clean(2, 1), clean(3, 2), clean(3, 2)], [true, false, true, false]);
    }

    #[test]
    fn nothing_to_work_on_is_no_job_and_old_parts_go() {
        let mut maker = Maker::new("", 0);
        assert!(maker.make(None, &[], 1).is_none());
        for _ in 0..=MAX_KEPT {
            maker.make(None, &[work(1, 1)], 1).expect("a job");
        }
        assert!(maker.parts(1).is_none() && maker.parts(2).is_some());
    }
}
