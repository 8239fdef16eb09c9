//! The pool's page over a pool that runs.

use super::serve;
use crate::{
    pool::{CONFIG, Miner, mine, start},
    run::Bmm,
};

#[test]
fn the_pools_page_tells_of_the_pool_that_runs() {
    let bmm = Bmm::new();
    std::fs::create_dir_all(bmm.data()).expect("a folder");
    std::fs::write(bmm.data().join("config.toml"), CONFIG).expect("written");
    let pages = serve(&bmm);
    assert!(pages.get("/pool", "").contains("No pool runs"));
    let (mut running, listening) = start(&bmm, &["pool", "--json"]);
    let address = listening["stratum"][0].as_str().expect("an address");
    let mut miners = vec![(Miner::new(0xa4), 1)];
    miners[0].0.connect(address);
    let account = format!("{:#x}", miners[0].0.account);
    mine(&mut miners, |miners| {
        let page = pages.get("/pool", "");
        let shows_blocks = page.matches("<tr><td>").count() > 1;
        miners[0].0.acknowledged > 20 && shows_blocks && page.contains(&format!("{}….rig", &account[..10]))
    });
    let page = pages.get("/pool", "");
    assert!(page.contains(&format!("stratum+tcp://{address}")), "{page}");
    assert!(page.contains("H/s"), "{page}");
    running.signal("KILL");
    running.end();
    assert!(pages.get("/pool", "").contains("No pool runs"), "the file that it left names a pool that does not answer");
}
