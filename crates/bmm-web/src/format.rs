//! Numbers as people read them.

use alloy_primitives::{Address, B256, U256};
use bmm_types::Amount;
use std::{borrow::Borrow, fmt::Write as _};

/// Writes a number in groups of three digits.
pub fn grouped(number: impl std::fmt::Display) -> String {
    let digits = number.to_string();
    let (digits, rest) = digits.split_once('.').map_or((digits.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (position, digit) in digits.chars().enumerate() {
        // A narrow space that lines do not break at.
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if let Some(rest) = rest {
        text.push('.');
        text.push_str(rest);
    }
    text
}

/// Writes an amount of BMM with up to `decimals` digits after the point, and all that are needed where they would all be zeros.
pub fn amount(units: impl Borrow<U256>, decimals: usize) -> String {
    let text = Amount(*units.borrow()).to_decimal();
    let Some((whole, fraction)) = text.split_once('.') else { return grouped(text) };
    let first = fraction.find(|digit| digit != '0').unwrap_or(0);
    // At least two digits that say something.
    let keep = if whole == "0" { decimals.max(first + 2) } else { decimals };
    let fraction = fraction.get(..keep).unwrap_or(fraction).trim_end_matches('0');
    if fraction.is_empty() { grouped(whole) } else { format!("{}.{fraction}", grouped(whole)) }
}

/// Writes all of an amount of BMM.
pub fn exact(units: impl Borrow<U256>) -> String {
    grouped(Amount(*units.borrow()).to_decimal())
}

/// Writes an amount of a token with so many decimals.
pub fn token(units: impl Borrow<U256>, decimals: impl Borrow<u8>) -> String {
    let digits = units.borrow().to_string();
    let decimals = usize::from((*decimals.borrow()).min(77));
    let digits = format!("{digits:0>width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    match fraction.trim_end_matches('0') {
        "" => grouped(whole),
        fraction => format!("{}.{fraction}", grouped(whole)),
    }
}

/// Writes a rate of hashes.
pub fn hash_rate(per_second: impl Borrow<f64>) -> String {
    let mut value = per_second.borrow().max(0.0);
    let mut unit = "H/s";
    for larger in ["kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"] {
        if value < 1_000.0 {
            break;
        }
        (value, unit) = (value / 1_000.0, larger);
    }
    format!("{}\u{a0}{unit}", short(value))
}

/// Writes a number with three digits.
pub fn short(value: impl Borrow<f64>) -> String {
    let value = *value.borrow();
    if value >= 100.0 || value == 0.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Writes a part of a whole in percent.
pub fn percent(part: impl Borrow<f64>, whole: impl Borrow<f64>) -> String {
    let (part, whole) = (*part.borrow(), *whole.borrow());
    if whole > 0.0 { format!("{:.1}\u{a0}%", 100.0 * part / whole) } else { "0\u{a0}%".to_owned() }
}

/// Writes a time of Unix seconds in UTC.
pub fn time(secs: impl Borrow<u64>) -> String {
    let secs = *secs.borrow();
    let days = secs / 86_400;
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (secs / 3_600 % 24, secs / 60 % 60, secs % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Writes a time for machines.
pub fn iso(secs: impl Borrow<u64>) -> String {
    format!("{}Z", time(secs).replace(' ', "T"))
}

/// Year, month and day of a number of days since 1970, by the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Days from 0000-03-01, so that leap days end years (Hinnant, "chrono-compatible low-level date algorithms").
    let days = days.min(3_000_000) + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Writes a span of time.
pub fn span(secs: impl Borrow<u64>) -> String {
    let secs = *secs.borrow();
    match secs {
        0..60 => format!("{secs}\u{a0}s"),
        60..3_600 => format!("{}\u{a0}min", secs / 60),
        3_600..172_800 => format!("{}\u{a0}h", secs / 3_600),
        _ => format!("{}\u{a0}d", secs / 86_400),
    }
}

/// Writes how long ago something was.
pub fn ago(now: impl Borrow<u64>, then: impl Borrow<u64>) -> String {
    span(now.borrow().saturating_sub(*then.borrow()))
}

/// Writes a number of bytes.
pub fn bytes(count: impl Borrow<u64>) -> String {
    let count = *count.borrow();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let float = |unit: u64| count as f64 / unit as f64;
    match count {
        0..1_024 => format!("{count}\u{a0}B"),
        1_024..1_048_576 => format!("{}\u{a0}KiB", short(float(1 << 10))),
        1_048_576..1_073_741_824 => format!("{}\u{a0}MiB", short(float(1 << 20))),
        _ => format!("{}\u{a0}GiB", short(float(1 << 30))),
    }
}

/// Shortens an address.
pub fn address(address: &Address) -> String {
    let text = address.to_checksum(None);
    format!("{}…{}", &text[..8], &text[38..])
}

/// Shortens a hash.
pub fn hash(hash: &B256) -> String {
    let text = hash.to_string();
    format!("{}…{}", &text[..10], &text[60..])
}

/// Returns the name of a system contract.
pub fn system_name(address: &Address) -> Option<&'static str> {
    use bmm_types::system as contract;
    Some(match *address {
        contract::TOKEN => "Token",
        contract::ACCOUNTS => "Accounts",
        contract::RESOURCES => "Resources",
        contract::FOOTSTONES => "Footstones",
        contract::JOBS => "Jobs",
        contract::APPS => "Apps",
        contract::CHAINS => "Chains",
        contract::REVENUE => "Revenue",
        contract::AIRDROP => "Airdrop",
        contract::VESTING => "Vesting",
        contract::TREASURY => "Treasury",
        _ => return None,
    })
}

/// Returns the name of a system contract, or the short address.
pub fn who(of: &Address) -> String {
    system_name(of).map_or_else(|| address(of), str::to_owned)
}

/// Draws text as a QR code; nothing where it is too long for one.
pub fn qr(text: &str) -> String {
    use qrcode::{EcLevel, QrCode};
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::M) else { return String::new() };
    let (width, colours) = (code.width(), code.to_colors());
    let mut path = String::new();
    for (at, colour) in colours.iter().enumerate() {
        if *colour == qrcode::Color::Dark {
            let _ = write!(path, "M{} {}h1v1h-1z", at % width + 2, at / width + 2);
        }
    }
    let size = width + 4;
    format!(
        r#"<svg class="qr" viewBox="0 0 {size} {size}" role="img" aria-label="QR"><rect class="light" width="{size}" height="{size}"/><path class="dark" d="{path}"/></svg>"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(1_234_567).replace('\u{202f}', " "), "1 234 567");
        assert_eq!(grouped("12.3456"), "12.3456");
        assert_eq!(amount(U256::from(1_234_567_890_000_000_000u64), 4), "1.2345");
        assert_eq!(amount(U256::from(1_000_000_000_000u64), 4), "0.000001");
        assert_eq!(token(U256::from(1_500_000u64), 6), "1.5");
        assert_eq!(token(U256::from(7u64), 0), "7");
        assert_eq!(hash_rate(12_345.0).replace('\u{a0}', " "), "12.3 kH/s");
        assert_eq!(time(0), "1970-01-01 00:00:00");
        assert_eq!(time(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(iso(1_798_761_600), "2027-01-01T00:00:00Z");
        assert_eq!(bytes(1_536).replace('\u{a0}', " "), "1.50 KiB");
    }
}
