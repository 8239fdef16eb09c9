//! What the market says: jobs, services, rentals.

use super::{Inputs, input, key};
use alloy_primitives::B256;
use alloy_signer::SignerSync as _;
use bmm_types::{
    Amount, ContentHash,
    market::{self as m, Wire as _},
};
use std::{error::Error, fs, path::Path};

fn offer() -> m::Offer {
    m::Offer {
        provider: key().address(),
        price_per_gfuel: Amount::ONE_BMM,
        price_per_gib: Amount::ZERO,
        slots: 2,
        memory_bytes: 1 << 30,
        time_millis: 60_000,
        output_bytes: 1 << 20,
        runtimes: vec![m::Runtime::Wasm, m::Runtime::Miner],
        isa: "x86_64".into(),
        rating_fuel_per_second: 1,
        hashing: Some(m::Hashing { price_per_ghash: Amount::ONE_BMM, hashes_per_second: 20_000 }),
        machine: m::Machine {
            cores: 8,
            memory_bytes: 16 << 30,
            disk_bytes: 1 << 40,
            features: vec!["avx2".into()],
            gpus: vec![m::Gpu { name: "card".into(), memory_bytes: 8 << 30 }],
        },
        expires_at: 2_000_000_000,
        sequence: 3,
    }
}

fn spec() -> m::JobSpec {
    let content = m::Content::of(b"content");
    let axis = |name: &str, kind| m::Axis { name: name.into(), kind };
    let files = || vec![m::InputFile { path: "scenes/a.txt".into(), content }];
    let columns = vec!["id".into()];
    m::JobSpec {
        name: "job".into(),
        app: content,
        args: vec!["{rows.start}".into()],
        env: vec![("HOME".into(), "/out".into())],
        entry: "run".into(),
        inputs: files(),
        axes: vec![
            axis("rows", m::AxisKind::Range { start: -5, end: 1_080, chunk: 16 }),
            axis("v", m::AxisKind::Values(vec!["a".into(), "b".into()])),
            axis("l", m::AxisKind::Lines { content, lines: 7, chunk: 2 }),
            axis("r", m::AxisKind::Rows { content, rows: 3, chunk: 1, columns, stdin: true }),
            axis("f", m::AxisKind::Files(files())),
        ],
        output: m::Output {
            collect: m::Collect::File("/out/tile.ppm".into()),
            merge: m::Merge::App { app: content, args: vec!["--width".into()] },
            file: "render.png".into(),
        },
        verify: m::Verify::Replicate(3),
        limits: m::TaskLimits::default(),
        budget: m::Budget { max: Amount::ONE_BMM, deadline_seconds: 60, price: Some(Amount::ONE_BMM) },
        canonical_nans: true,
        runtime: m::Runtime::Wasm,
        needs: m::Needs { cores: 4, features: vec!["avx2".into()], gpu_bytes: Some(8 << 30), ..m::Needs::default() },
        deterministic: true,
        stake: Amount::ONE_BMM,
        draw: B256::repeat_byte(8),
        extra: vec![1, 2],
    }
}

fn results() -> m::ToRequester {
    let end = m::TaskEnd::Done(m::TaskOutput::Inline(vec![5; 20]));
    let failure = m::TaskFailure {
        kind: m::FailureKind::Program,
        reason: "exit_code:1".into(),
        message: "the program exited with code 1".into(),
        stderr: b"no such file".to_vec(),
    };
    let done = m::TaskResult { index: 3, fuel: 1_000, peak_memory_bytes: 65_536, end };
    let failed = m::TaskResult { end: m::TaskEnd::Failed(Box::new(failure)), index: 4, ..done.clone() };
    let results = vec![done, failed];
    let batch = m::ResultBatch { job: B256::repeat_byte(1), lease: 2, batch: 1, busy_micros: 5, results };
    m::ToRequester::Results(m::SignedResults { batch, signature: m::SignatureBytes::ZERO })
}

pub(super) fn market() -> Result<Inputs, Box<dyn Error>> {
    let (job, standing) = (B256::repeat_byte(1), m::Standing::default());
    let ranges = || vec![m::TaskRange { first: 3, count: 4 }, m::TaskRange { first: 9, count: 1 }];
    let signature = m::SignatureBytes::from(key().sign_hash_sync(&m::offer_hash(7, &offer()))?.as_bytes());
    let signed = m::SignedOffer { offer: offer(), signature };
    let reason = || "a reason".to_owned();
    let listing = m::Listing {
        offer: offer(),
        peer: bmm_net::PeerId::from_bytes(&[&[0, 36, 8, 1, 18, 32][..], &[9; 32]].concat())?.to_bytes(),
        addresses: vec![vec![4, 127, 0, 0, 1, 6, 0, 80]],
        free_slots: 1,
        listed_at_millis: 1_900_000_000_000,
        expires_at: 1_900_000_100,
    };
    let sealed = m::SignatureBytes::from(key().sign_hash_sync(&m::listing_hash(7, &listing))?.as_bytes());
    let listing = m::SignedListing { listing, signature: sealed }.encode();
    let heard =
        [&1_900_000_000_500u64.to_le_bytes()[..], &u16::try_from(listing.len())?.to_le_bytes(), &listing].concat();
    let over = m::ToProvider::Over { job, reason: reason() }.encode();
    let framed = [&[50][..], &u32::try_from(over.len())?.to_le_bytes(), &over, &[0; 4]].concat();
    let hello = [&[1][..], &7u64.to_be_bytes(), &[0; 32], &[1; 20], &[5; 32], &signature.0].concat();
    let to_provider = [
        m::ToProvider::Job(announcement(spec().encode())),
        m::ToProvider::Lease { job, lease: m::Lease { id: 1, ranges: ranges() } },
        m::ToProvider::Recall { job, tasks: 5 },
        m::ToProvider::Drop { job, ranges: ranges() },
        m::ToProvider::Voucher { voucher: voucher(), standing },
        m::ToProvider::Standing { job, standing },
        m::ToProvider::Over { job, reason: reason() },
    ];
    let to_requester = [
        m::ToRequester::Offer(Box::new(signed.clone())),
        m::ToRequester::Decline { job, reason: reason() },
        m::ToRequester::LeaseRequest { job, slots: 4 },
        m::ToRequester::Released { job, ranges: ranges() },
        results(),
        m::ToRequester::Leave { job, reason: reason() },
    ];
    let mut inputs = numbered("to-provider", 0, &to_provider);
    inputs.extend(numbered("to-requester", 1, &to_requester));
    inputs.extend([
        input("offer", 2, &signed.encode()),
        input("listing", 3, &listing),
        input("spec", 4, &spec().encode()),
        input("book", 5, &heard),
        input("session", 6, &framed),
        input("hello", 7, &hello),
        input("frames", 8, &[255, 0, 0, 0, 0, 3, 1, 2, 3]),
        input(
            "job-file",
            9,
            fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/render/job.toml"))?.as_slice(),
        ),
        input("content-name", 10, ContentHash::of(b"hello").to_string().as_bytes()),
        input("amount", 10, b"1.5 BMM"),
    ]);
    inputs.extend(services());
    inputs.extend(rentals());
    Ok(inputs)
}

/// Encoded messages of one direction.
fn numbered<T: m::Wire>(side: &str, kind: u8, messages: &[T]) -> Inputs {
    messages.iter().enumerate().map(|(n, message)| input(&format!("{side}-{n}"), kind, &message.encode())).collect()
}

fn announcement(spec: Vec<u8>) -> m::JobAnnouncement {
    let (job, requester) = (B256::repeat_byte(1), key().address());
    m::JobAnnouncement { job, requester, chain_id: 7, budget: Amount::ONE_BMM, deadline: 9, spec }
}

fn voucher() -> m::SignedVoucher {
    let (job, provider) = (B256::repeat_byte(1), key().address());
    m::SignedVoucher { job, provider, total: Amount::ONE_BMM, signature: m::SignatureBytes::ZERO }
}

fn services() -> Inputs {
    let spec = m::ServiceSpec {
        name: "node".into(),
        image: m::Content::of(b"image"),
        args: vec!["-server".into()],
        env: vec![("A".into(), "b".into())],
        memory_bytes: 1 << 28,
        ports: vec![m::ServicePort { name: "rpc".into(), port: 19_443 }],
        probe: m::Probe::Command(vec!["true".into()]),
        probe_millis: 10_000,
        volume: Some(m::ServiceVolume { path: "/data".into(), size_bytes: 1 << 26 }),
        interval_millis: 60_000,
        price: Amount::ONE_BMM,
        intervals: 120,
    };
    let snapshot = m::Snapshot { chunks: vec![m::Content::of(b"chunk")] };
    let to = [
        m::ToHost::Begin { job: announcement(spec.encode()), snapshot: Some(snapshot.clone()) },
        m::ToHost::Pay(voucher()),
        m::ToHost::Stop,
    ];
    let from = [
        m::FromHost::Started,
        m::FromHost::Health(true),
        m::FromHost::Due { intervals: 3 },
        m::FromHost::Copied(snapshot),
        m::FromHost::Log(b"ready".to_vec()),
        m::FromHost::Over { reason: "a reason".into() },
    ];
    let file = "app = \"oci:./n.tar\"\n[service]\nhealth = { tcp = 9 }\nprice = \"1 BMM\"\n";
    let more = [input("service", 4, &spec.encode()), input("service-file", 9, file.as_bytes())];
    [numbered("to-host", 0, &to), numbered("from-host", 1, &from), more.into()].concat()
}

fn rentals() -> Inputs {
    let price = Amount::ONE_BMM;
    let spec =
        m::RentalSpec { name: "night".into(), max_price: price, interval_millis: 60_000, duration_millis: 3_600_000 };
    let line = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"bmm\"]}\n".to_vec();
    let to = [
        m::ToMiner::Begin { job: announcement(spec.encode()), price },
        m::ToMiner::Stratum(line.clone()),
        m::ToMiner::Pay(voucher()),
        m::ToMiner::Stop,
    ];
    let from = [m::FromMiner::Begun, m::FromMiner::Stratum(line), m::FromMiner::Over { reason: "a reason".into() }];
    let file = "[mine]\npools = [\"stratum+tcp://p:1\"]\nuser = \"u\"\nprice = \"1 BMM\"\n[budget]\nmax = \"1 BMM\"\n";
    let more = [input("rental", 4, &spec.encode()), input("rental-file", 9, file.as_bytes())];
    [numbered("to-miner", 0, &to), numbered("from-miner", 1, &from), more.into()].concat()
}
