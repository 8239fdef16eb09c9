//! What conduct costs.

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// Something that no honest node of any version sends: a block without work, bytes that break a rule of consensus.
    Invalid,
    /// It said that it has what it has not: a head, headers, bodies.
    Lie,
    /// Bytes that cannot be understood.
    Rubbish,
    /// More than anybody needs.
    Flood,
    /// No answer in time.
    Stall,
}

/// Score at which a peer is banned.
pub(super) const BAN_AT: i32 = -100;

/// The best score: what a peer did well does not pay for much.
pub(super) const BEST: i32 = 20;

impl Offence {
    /// What it takes off the score.
    pub(super) const fn cost(self) -> i32 {
        match self {
            Self::Invalid => 120,
            Self::Lie => 50,
            Self::Rubbish => 40,
            Self::Flood => 10,
            Self::Stall => 15,
        }
    }
}
