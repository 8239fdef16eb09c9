//! A service between strangers: its port, its pay, and its data when its provider is killed. It takes root, `runc` and `busybox-static`.

use crate::{
    chain::{Chain, read, units},
    containers::{Place, shell},
    network::{Provider, until},
    run::{Bmm, Running},
};
use alloy_primitives::{Address, B256, U256};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

const FILE: &str = r#"
app = "oci:./shell.tar"
args = ["echo begun >> /data/starts; exec /bin/busybox httpd -f -p 127.0.0.1:7000 -h /data"]
[service]
ports = { web = 7000 }
health = { tcp = 7000, every = "1 s" }
volume = { path = "/data", size = "4 MiB" }
memory = "64 MiB"
interval = "1 s"
price = "0.1 BMM"
duration = "5 min"
"#;

/// What is known of the only service.
fn service(bmm: &Bmm) -> Value {
    bmm.json(&["service", "list"])[0].clone()
}

fn host(bmm: &Bmm) -> Option<Address> {
    let service = service(bmm);
    (service["healthy"] == true).then(|| read(&service, "host"))
}

/// Gets the file that the service writes at each start, through its port on this machine.
fn starts(at: &str) -> Option<String> {
    let mut stream = TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET /starts HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned()).filter(|text| !text.is_empty())
}

/// Waits for something of a service whose process lives.
fn await_of<T>(running: &mut Running, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    until(what, || {
        assert!(running.lives(), "the service ended before {what}: {} {}", running.stdout(), running.stderr());
        look()
    })
}

#[test]
fn a_service_is_reached_paid_and_moved_with_its_data() {
    let Some(place) = Place::new("service") else { return };
    let bmm = place.requester();
    let chain = Chain::up(&bmm);
    let hub = Provider::with(&chain, None, "");
    let mut first = Provider::with(&chain, Some(&hub), &place.config);
    bmm.bytes("shell.tar", &shell());
    let file = bmm.file("web.toml", FILE);
    let file = file.to_str().expect("UTF-8");
    let mut keeping = bmm.spawn(&["--json", "service", "run", file, "--listen", "web=0", "--bootstrap", &hub.address]);
    let at = await_of(&mut keeping, "the port", || {
        service(&bmm)["ports"]["web"].as_str().filter(|at| !at.ends_with(":0")).map(str::to_owned)
    });
    let hosted = await_of(&mut keeping, "the first host", || host(&bmm));
    assert_eq!(hosted, first.operator);
    assert_eq!(await_of(&mut keeping, "an answer", || starts(&at)), "begun\n");
    await_of(&mut keeping, "pay and a copy", || {
        let service = service(&bmm);
        (service["intervals"].as_u64() >= Some(2) && service["snapshot"].is_array()).then_some(())
    });

    let second = Provider::with(&chain, Some(&hub), &place.config);
    first.kill();
    let hosted = await_of(&mut keeping, "the second host", || host(&bmm).filter(|host| *host != first.operator));
    assert_eq!(hosted, second.operator);
    assert_eq!(await_of(&mut keeping, "an answer", || starts(&at)), "begun\nbegun\n", "with what was written before");
    await_of(&mut keeping, "its pay", || {
        (service(&bmm)["promised_bmm"].as_object().map(serde_json::Map::len) == Some(2)).then_some(())
    });
    // Nothing of the service is left where it was once the killed one is back.
    first.restart(&chain, Some(&hub), "1");

    let id: B256 = read(&service(&bmm), "id");
    bmm.json(&["service", "stop", &format!("{id:x}")[..8]]);
    let receipt = keeping.wait().json();
    let promised: BTreeMap<Address, bmm_types::Amount> = read(&receipt, "promised_bmm");
    assert_eq!(promised.keys().len(), 2, "{receipt}");
    let each = U256::from(10).pow(U256::from(17));
    let spent = U256::from(receipt["intervals"].as_u64().expect("a number")) * each;
    assert_eq!(units(&receipt, "spent_bmm"), spent, "{receipt}");
    assert_eq!(chain.settled_once(id).paid, spent);
    assert!(service(&bmm)["state"] == "settled");
}
