//! What is known of each task, in pages that are made when the first of their tasks has a result.

use bmm_types::ContentHash;
use bmm_types::market::Content;

/// Tasks of one page.
const PAGE: usize = 4_096;

/// The verified result of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedResult {
    /// Hash and length of its bytes.
    pub content: Content,
    /// Fuel that was paid for.
    pub fuel: u64,
    /// Providers that were paid for it.
    pub paid: u8,
    /// Whether somebody else found the same, or the job is not verified by second runs.
    pub checked: bool,
}

/// Stands for nobody among the numbers of providers.
const NOBODY: u32 = u32::MAX;

/// A page keeps columns, so that nothing is padded: 53 bytes a task.
struct Page {
    paid: Vec<u8>,
    hash: Vec<ContentHash>,
    size: Vec<u64>,
    fuel: Vec<u64>,
    /// The provider whose word alone the result rests on.
    by: Vec<u32>,
}

impl Page {
    fn new() -> Self {
        let hash = vec![ContentHash::default(); PAGE];
        Self { paid: vec![0; PAGE], hash, size: vec![0; PAGE], fuel: vec![0; PAGE], by: vec![NOBODY; PAGE] }
    }
}

/// The verified results of a job.
pub(super) struct Results {
    pages: Vec<Option<Box<Page>>>,
    done: u64,
}

/// Splits a task's number into page and place.
fn place(task: u64) -> (usize, usize) {
    let task = usize::try_from(task).unwrap_or(usize::MAX);
    (task / PAGE, task % PAGE)
}

impl Results {
    pub fn new(tasks: u64) -> Self {
        let pages = usize::try_from(tasks).unwrap_or(usize::MAX).div_ceil(PAGE);
        Self { pages: std::iter::repeat_with(|| None).take(pages).collect(), done: 0 }
    }

    /// Returns how many tasks have a verified result.
    pub fn done(&self) -> u64 {
        self.done
    }

    pub fn is_done(&self, task: u64) -> bool {
        let (page, at) = place(task);
        matches!(self.pages.get(page), Some(Some(page)) if page.paid[at] > 0)
    }

    pub fn get(&self, task: u64) -> Option<VerifiedResult> {
        let (page, at) = place(task);
        let page = self.pages.get(page)?.as_ref()?;
        let content = Content { hash: page.hash[at], size: page.size[at] };
        let (fuel, paid, checked) = (page.fuel[at], page.paid[at], page.by[at] == NOBODY);
        (paid > 0).then_some(VerifiedResult { content, fuel, paid, checked })
    }

    /// Returns the number of the provider whose word alone a result rests on.
    pub fn rests_on(&self, task: u64) -> Option<usize> {
        let (page, at) = place(task);
        let page = self.pages.get(page)?.as_ref().filter(|page| page.paid[at] > 0)?;
        usize::try_from(page.by[at]).ok().filter(|_| page.by[at] != NOBODY)
    }

    /// Opens a task again, whatever was paid for it; false if it is open.
    pub fn reopen(&mut self, task: u64) -> bool {
        let (page, at) = place(task);
        let Some(Some(page)) = self.pages.get_mut(page) else { return false };
        let was_done = std::mem::take(&mut page.paid[at]) > 0;
        page.by[at] = NOBODY;
        self.done -= u64::from(was_done);
        was_done
    }

    /// Counts the results that rest on one provider's word alone.
    pub fn unchecked(&self) -> u64 {
        let of_page = |page: &Page| (0..PAGE).filter(|at| page.paid[*at] > 0 && page.by[*at] != NOBODY).count();
        self.pages.iter().flatten().map(|page| u64::try_from(of_page(page)).unwrap_or(u64::MAX)).sum()
    }

    /// Returns the tasks whose results rest on one provider's word alone.
    pub fn resting_on(&self, provider: usize) -> Vec<u64> {
        let number = u32::try_from(provider).unwrap_or(NOBODY);
        let mut tasks = Vec::new();
        for (page_number, page) in self.pages.iter().enumerate() {
            let Some(page) = page else { continue };
            let of_provider = (0..PAGE).filter(|at| page.by[*at] == number && page.paid[*at] > 0);
            tasks.extend(of_provider.map(|at| u64::try_from(page_number * PAGE + at).unwrap_or(u64::MAX)));
        }
        tasks
    }

    /// Drops the results whose bytes are not at hand; empty ones always are. Returns how many tasks are open again.
    pub fn drop_missing(&mut self, is_here: impl Fn(Content) -> bool) -> u64 {
        let before = self.done;
        for page in self.pages.iter_mut().flatten() {
            for at in 0..PAGE {
                let content = Content { hash: page.hash[at], size: page.size[at] };
                if page.paid[at] > 0 && content.size > 0 && !is_here(content) {
                    page.paid[at] = 0;
                    self.done -= 1;
                }
            }
        }
        before - self.done
    }

    /// Notes that a provider is paid for a task: the first time with its result. `alone` is the provider if nobody else has
    /// looked at the result.
    pub fn pay(&mut self, task: u64, content: Content, fuel: u64, alone: Option<usize>) {
        let (page, at) = place(task);
        let Some(page) = self.pages.get_mut(page) else { return };
        let page = page.get_or_insert_with(|| Box::new(Page::new()));
        if page.paid[at] == 0 {
            page.hash[at] = content.hash;
            page.size[at] = content.size;
            page.fuel[at] = fuel;
            self.done += 1;
        }
        page.paid[at] = page.paid[at].saturating_add(1);
        page.by[at] = alone.and_then(|provider| u32::try_from(provider).ok()).unwrap_or(NOBODY);
    }
}
