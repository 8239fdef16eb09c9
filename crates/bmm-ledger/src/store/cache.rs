pub(super) struct TrieCache;
