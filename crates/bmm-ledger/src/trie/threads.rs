//! Sharing work between threads.

/// Runs `work` over consecutive shares of the items, of nearly equal weight, and returns its results in order. The last
/// share is worked on here.
pub(crate) fn in_shares<T: Send, R: Send>(
    items: Vec<T>,
    threads: usize,
    weight: impl Fn(&T) -> usize,
    work: impl Fn(Vec<T>) -> R + Sync,
) -> Vec<R> {
    let total: usize = items.iter().map(&weight).sum();
    let mut shares = Vec::with_capacity(threads);
    let mut items = items.into_iter().peekable();
    let mut done = 0;
    for index in 1..=threads.max(1) {
        let mut share = Vec::with_capacity(items.len() / (threads + 1 - index));
        while let Some(item) =
            items.next_if(|item| index == threads || (done + weight(item) / 2) * threads <= total * index)
        {
            done += weight(&item);
            share.push(item);
        }
        if !share.is_empty() {
            shares.push(share);
        }
    }
    let Some(last) = shares.pop() else { return Vec::new() };
    let work = &work;
    std::thread::scope(|scope| {
        let others: Vec<_> = shares.into_iter().map(|share| scope.spawn(move || work(share))).collect();
        let last = work(last);
        let joined = others.into_iter().map(|other| match other.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        let mut results: Vec<R> = joined.collect();
        results.push(last);
        results
    })
}
