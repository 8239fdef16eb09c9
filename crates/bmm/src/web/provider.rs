//! What this machine offers: its hardware, its earnings, its limits.

use super::desk::{Desk, bad};
use crate::{
    config::Config,
    paths::write_atomically,
    provide::{Ledger, Running},
};
use alloy_primitives::U256;
use axum::{
    Form,
    extract::{Query, State},
    response::{Html, Redirect},
};
use bmm_types::Amount;
use bmm_vm::hardware::Hardware;
use bmm_web::{
    Frame, Owner, PageError, Texts,
    chart::{self, Series},
    format,
    view::{self, Earned, Slider},
};
use serde::Deserialize;
use std::collections::BTreeMap;
use toml_edit::{DocumentMut, Item, Value};

/// Jobs that are listed.
const ROWS: usize = 50;
/// Days of the chart.
const DAYS: u64 = 30;

#[derive(Default, Deserialize)]
pub(super) struct Saved {
    saved: Option<u8>,
}

fn sliders(config: &Config, cores: u64, memory_mib: u64) -> Vec<Slider> {
    let provide = &config.provide;
    let slider = |key, label, max: u64, step, value: u64, unit| Slider {
        key,
        label,
        min: 0,
        max: max.max(value),
        step,
        value,
        unit,
    };
    vec![
        slider("providers", "provider.providers", cores, 1, provide.providers.into(), ""),
        slider("memory_mib", "provider.memory_mib", memory_mib, 64, provide.memory_mib, "MiB"),
        slider("disk_mib", "provider.disk_mib", 102_400, 256, provide.disk_mib, "MiB"),
    ]
}

/// `GET /provider`
pub(super) async fn page(
    State(desk): State<Desk>,
    Query(query): Query<Saved>,
    Owner(visit): Owner,
) -> Result<Html<String>, PageError> {
    let now = desk.site.chain.now_secs();
    let read = desk.blocking(|desk| {
        let config = Config::load(
            &desk.data,
            Some(&*desk.config_file).filter(|file| file.exists()).map(std::path::PathBuf::as_path),
        );
        let running = Running::read(&desk.data).unwrap_or_default();
        let mut earnings = Vec::new();
        for (_, ledger) in Ledger::all(&desk.data).map_err(|failure| bad(&failure))? {
            earnings.extend(ledger.list().map_err(|failure| bad(&failure))?);
        }
        let machine = (bmm_vm::hardware::detect(), crate::jobs::hosts::kept_rating(&desk.data));
        Ok((config.map_err(|failure| bad(&failure))?, running, earnings, machine))
    });
    let (config, running, mut earnings, (hardware, rating)) = read.await?;
    earnings.sort_by_key(|earning| std::cmp::Reverse(earning.taken));
    let total = earnings.iter().map(|earning| earning.paid_bmm).sum::<Amount>();
    let memory = hardware.memory_bytes.unwrap_or(0);
    let cores = u64::from(hardware.logical_cores);
    let page = view::Provider {
        f: Frame::new(&visit, visit.texts.s("provider.title")).live("/live"),
        now,
        hardware: described(&hardware, rating, visit.texts),
        operator: running.as_ref().map(|running| running.operator),
        running: running.map(|it| (it.slots, it.free_slots, it.paused.unwrap_or_default())),
        sliders: sliders(&config, cores, memory >> 20),
        price: config.provide.price_per_gfuel.to_decimal(),
        idle_only: config.provide.idle_only,
        chart: drawn(&earnings, now, visit.texts.s("provider.earnings")),
        earned: earnings.iter().take(ROWS).map(row).collect(),
        total: total.units(),
        saved: query.saved.is_some(),
    };
    view::show(&page)
}

/// Describes the machine: names, keys of the texts, and values.
fn described(hardware: &Hardware, rating: Option<u64>, t: &Texts) -> Vec<(String, String)> {
    let rating = rating.map_or_else(
        || t.s("provider.not_rated").to_owned(),
        |fuel| t.put("provider.rated", format::grouped(fuel / 1_000_000)),
    );
    let mut rows = vec![
        ("provider.cpu", format!("{} ({})", hardware.cpu_model, hardware.arch)),
        ("provider.cores", hardware.logical_cores.to_string()),
        ("provider.memory", format::bytes(hardware.memory_bytes.unwrap_or(0))),
        ("provider.isa", hardware.features.join(", ")),
        ("provider.rating", rating),
    ];
    rows.extend(
        hardware.gpus.iter().map(|gpu| ("provider.gpu", format!("{}, {}", gpu.name, format::bytes(gpu.memory_bytes)))),
    );
    rows.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn row(earning: &crate::provide::Earning) -> Earned {
    let (paid, promised) = (earning.paid_bmm.units(), earning.promised().units());
    Earned { job: earning.job, taken: earning.taken, paid, promised }
}

/// Draws what was promised or paid by day.
fn drawn(earnings: &[crate::provide::Earning], now: u64, describe: &str) -> String {
    let mut days = [U256::ZERO; 30];
    for earning in earnings {
        let ago = now.saturating_sub(earning.taken) / 86_400;
        if let Some(day) = DAYS.checked_sub(ago + 1).and_then(|day| days.get_mut(usize::try_from(day).ok()?)) {
            *day = day.saturating_add(earning.paid_bmm.units().max(earning.promised().units()));
        }
    }
    let series = Series {
        label: String::new(),
        link: String::new(),
        colour: 0,
        values: days.iter().map(|units| f64::from(*units)).collect(),
        total: String::new(),
        part: String::new(),
        width: String::new(),
    };
    let name = |day: usize, _| format!("−{} d: {} BMM", 29 - day.min(29), format::amount(days[day.min(29)], 6));
    chart::columns(&[series], describe, name).svg
}

/// `POST /provider`: writes the limits into the configuration.
pub(super) async fn save(
    State(desk): State<Desk>,
    owner: Owner,
    Form(form): Form<BTreeMap<String, String>>,
) -> Result<Redirect, PageError> {
    owner.check(form.get("csrf").map_or("", String::as_str))?;
    desk.blocking(move |desk| {
        let path = &*desk.config_file;
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(PageError::Bad(format!("{} cannot be read: {error}", path.display()))),
        };
        let limits = Limits::read(&form)?;
        let new =
            limits.write_into(&text).map_err(|problem| PageError::Bad(format!("{}: {problem}", path.display())))?;
        // What the program would refuse is not written.
        toml::from_str::<Config>(&new).map_err(|error| PageError::Bad(error.to_string()))?;
        if !text.is_empty() {
            write_atomically(&path.with_extension("toml.bak"), text.as_bytes()).map_err(|failure| bad(&failure))?;
        }
        write_atomically(path, new.as_bytes()).map_err(|failure| bad(&failure))?;
        Ok(Redirect::to("/provider?saved=1"))
    })
    .await
}

/// What the form sets.
struct Limits {
    numbers: [(&'static str, i64); 3],
    price: Amount,
    idle_only: bool,
}

impl Limits {
    fn read(form: &BTreeMap<String, String>) -> Result<Self, PageError> {
        let mut numbers = [("providers", 0), ("memory_mib", 0), ("disk_mib", 0)];
        for (key, number) in &mut numbers {
            let typed = form.get(*key).and_then(|value| value.parse().ok()).filter(|number| *number >= 0);
            *number = typed.ok_or_else(|| PageError::Bad(format!("{key} is not a number")))?;
        }
        let price = form.get("price").map_or("", String::as_str).parse();
        let price = price.map_err(|error| PageError::Bad(format!("price: {error}")))?;
        Ok(Self { numbers, price, idle_only: form.contains_key("idle_only") })
    }

    /// Puts the values into a configuration and leaves everything else as it is, comments too.
    fn write_into(&self, text: &str) -> Result<String, String> {
        let mut file: DocumentMut = text.parse().map_err(|error| format!("{error}"))?;
        let provide = file.entry("provide").or_insert_with(toml_edit::table);
        let provide = provide.as_table_like_mut().ok_or("provide is no table")?;
        let mut set = |key: &str, new: Value| match provide.get_mut(key).and_then(Item::as_value_mut) {
            // A comment behind the value stays.
            Some(old) => {
                let decor = old.decor().clone();
                *old = new;
                *old.decor_mut() = decor;
            }
            None => {
                provide.insert(key, toml_edit::value(new));
            }
        };
        for (key, number) in self.numbers {
            set(key, number.into());
        }
        set("price_per_gfuel", self.price.to_decimal().into());
        set("idle_only", self.idle_only.into());
        Ok(file.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(entries: &[(&str, &str)]) -> Limits {
        let form = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Limits::read(&form).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_configuration_keeps_its_comments_and_its_order() {
        let limits = limits(&[("providers", "3"), ("memory_mib", "0"), ("disk_mib", "512"), ("price", "0.25")]);
        let before = "# mine\nchain = \"dev\" # here\n\n[provide] # for others\ndisk_mib = 9 # small\n\n[pages]\n# all\nenable = true\n";
        let after = limits.write_into(before).expect("a configuration");
        assert_eq!(
            after,
            "# mine\nchain = \"dev\" # here\n\n[provide] # for others\ndisk_mib = 512 # small\nproviders = 3\nmemory_mib = 0\n\
             price_per_gfuel = \"0.25\"\nidle_only = false\n\n[pages]\n# all\nenable = true\n"
        );
        toml::from_str::<Config>(&after).expect("the program reads it");
        assert_eq!(limits.write_into(&after).expect("a configuration"), after);
        let fresh = limits.write_into("").expect("a configuration");
        assert!(fresh.starts_with("[provide]\nproviders = 3\n"), "{fresh}");
        assert!(limits.write_into("provide = 1").is_err());
    }
}
