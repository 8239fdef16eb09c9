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
use bmm_web::{
    Frame, Owner, PageError,
    chart::{self, Series},
    format,
    view::{self, Earned, Slider},
};
use serde::Deserialize;
use std::collections::BTreeMap;

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
        Ok((config.map_err(|failure| bad(&failure))?, running, earnings, bmm_vm::hardware::detect()))
    });
    let (config, running, mut earnings, hardware) = read.await?;
    earnings.sort_by_key(|earning| std::cmp::Reverse(earning.taken));
    let total = earnings.iter().map(|earning| earning.paid_bmm).sum::<Amount>();
    let memory = hardware.memory_bytes.unwrap_or(0);
    let cores = u64::from(hardware.logical_cores);
    let page = view::Provider {
        f: Frame::new(&visit, visit.texts.s("provider.title")).live("/live"),
        now,
        hardware: vec![
            ("provider.cpu".to_owned(), format!("{} ({})", hardware.cpu_model, hardware.arch)),
            ("provider.cores".to_owned(), cores.to_string()),
            ("provider.memory".to_owned(), format::bytes(memory)),
        ],
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
        let mut file: toml::Table =
            text.parse().map_err(|error| PageError::Bad(format!("{}: {error}", path.display())))?;
        let provide = file.entry("provide").or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let provide = provide.as_table_mut().ok_or_else(|| PageError::Bad("provide is no table".to_owned()))?;
        for key in ["providers", "memory_mib", "disk_mib"] {
            let number = form.get(key).and_then(|value| value.parse::<i64>().ok()).filter(|number| *number >= 0);
            let number = number.ok_or_else(|| PageError::Bad(format!("{key} is not a number")))?;
            provide.insert(key.to_owned(), toml::Value::Integer(number));
        }
        let price: Amount =
            form.get("price").map_or("", String::as_str).parse().map_err(|error| PageError::Bad(format!("{error}")))?;
        provide.insert("price_per_gfuel".to_owned(), toml::Value::String(price.to_decimal()));
        provide.insert("idle_only".to_owned(), toml::Value::Boolean(form.contains_key("idle_only")));
        let new = toml::to_string(&file).map_err(|_| PageError::Internal)?;
        // What the program would refuse is not written.
        toml::from_str::<Config>(&new).map_err(|error| PageError::Bad(error.to_string()))?;
        if !text.is_empty() {
            // Comments are not kept: the former file is.
            write_atomically(&path.with_extension("toml.bak"), text.as_bytes()).map_err(|failure| bad(&failure))?;
        }
        write_atomically(path, new.as_bytes()).map_err(|failure| bad(&failure))?;
        Ok(Redirect::to("/provider?saved=1"))
    })
    .await
}
