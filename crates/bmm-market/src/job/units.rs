//! Sizes and times as people write them: `256 MiB`, `60 s`, `10 min`.

/// Splits `12 MiB` into number and unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim()))
}

/// Reads a size in bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Reads a share such as `2.5 %` in parts per million, at most 1,000,000.
pub(super) fn ppm(text: &str) -> Option<u32> {
    let number = text.trim().strip_suffix('%')?.trim();
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 4 {
        return None;
    }
    let part: u32 = format!("{part:0<4}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(10_000)?.checked_add(part).filter(|ppm| *ppm <= 1_000_000)
}

/// Reads a time in milliseconds.
pub(crate) fn millis(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_parts_per_million() {
        for (text, expected) in [
            ("2 %", Some(20_000)),
            ("100%", Some(1_000_000)),
            ("0.0001 %", Some(1)),
            ("2.5 %", Some(25_000)),
            ("100.1 %", None),
            ("2", None),
            ("-1 %", None),
            ("1.00001 %", None),
            (". %", None),
            ("+1 %", None),
        ] {
            assert_eq!(super::ppm(text), expected, "{text}");
        }
    }

    #[test]
    fn reads_sizes_and_times() {
        assert_eq!(size("256 MiB"), Some(256 << 20));
        assert_eq!(size(" 5kB "), Some(5_000));
        assert_eq!(millis("10 min"), Some(600_000));
        assert_eq!(millis("250ms"), Some(250));
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "MiB", "-1 B", "1.5 GiB", "1", "1 mib", "99999999999999999999 B", "18446744073709551615 GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
        for text in ["", "s", "1", "1 m", "1 hour", "18446744073709551615 d"] {
            assert_eq!(millis(text), None, "{text}");
        }
    }
}
