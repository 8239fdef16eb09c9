//! What a job needs of a machine is held to each offer, and explained.

use crate::fixtures::{key, offer, spec};
use bmm_market::requester::explain_offers;
use bmm_types::Amount;
use bmm_types::market::{Gpu, Machine, Needs, Offer, Runtime, Verify};

const GIB: u64 = 1 << 30;

fn with(machine: Machine, runtimes: &[Runtime]) -> Offer {
    let offered = offer(&key(1), 1, Amount::ONE_BMM).offer;
    Offer { machine, runtimes: runtimes.to_vec(), ..offered }
}

#[test]
fn machines_that_lack_something_are_left_out_and_told_of() {
    let mut job = spec(1, Verify::None, Amount::ONE_BMM);
    job.runtime = Runtime::Container;
    job.needs = Needs {
        cores: 4,
        memory_bytes: 8 * GIB,
        disk_bytes: GIB,
        features: vec!["avx2".into()],
        gpu_bytes: Some(8 * GIB),
        workers: 0,
    };
    let gpu = |gib: u64| Gpu { name: "card".into(), memory_bytes: gib * GIB };
    let whole = Machine {
        cores: 4,
        memory_bytes: 8 * GIB,
        disk_bytes: GIB,
        features: vec!["avx".into(), "avx2".into()],
        gpus: vec![gpu(2), gpu(8)],
    };
    let both = [Runtime::Wasm, Runtime::Container];
    let lacking = [
        ("needs.cores", with(Machine { cores: 3, ..whole.clone() }, &both), "it has 3"),
        ("needs.memory", with(Machine { memory_bytes: 7 * GIB, ..whole.clone() }, &both), "it has 7168 MiB"),
        ("needs.disk", with(Machine { disk_bytes: GIB - 1, ..whole.clone() }, &both), "it has 1023 MiB"),
        ("needs.feature", with(Machine { features: vec!["avx".into()], ..whole.clone() }, &both), "it lacks avx2"),
        ("needs.gpu", with(Machine { gpus: vec![gpu(2)], ..whole.clone() }, &both), "it has card with 2048 MiB"),
        ("needs.gpu", with(Machine { gpus: Vec::new(), ..whole.clone() }, &both), "it has no GPU"),
        ("app", with(whole.clone(), &both[..1]), "it has wasm"),
    ];
    let fits = with(whole, &both);
    for (name, offer, why) in &lacking {
        let explained = explain_offers(&job, [offer, &fits], 0);
        assert_eq!((explained.providers, explained.matching), (2, 1), "{name}");
        for condition in explained.conditions {
            let told: Vec<&str> = condition.others.iter().map(|(_, why)| why.as_str()).collect();
            if condition.name == *name {
                assert!(told.len() == 1 && told[0].starts_with(why), "{name}: {told:?}");
            } else {
                assert_eq!(told, Vec::<&str>::new(), "{} where {name} lacks", condition.name);
            }
        }
    }
}
