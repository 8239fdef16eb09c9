//! Reading the survey's file.

/// The constant and the nine measured variables.
pub const TERMS: usize = 10;
/// Their names in the file; the first is the constant.
pub const NAMES: [&str; TERMS] =
    ["constant", "lncoins", "idp", "lpi", "fmde", "physlm", "disea", "hlthg", "hlthf", "hlthp"];

/// Years of one person: rows in a row of the file whose variables are all the same. (Now and then they are also the
/// years of that person's family.)
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Visits to a physician in all years together.
    pub visits: f64,
    /// How many years.
    pub years: f64,
    /// What may explain the visits.
    pub x: [f64; TERMS],
}

/// Reads the CSV file and joins the years of each person.
pub fn clusters(text: &str) -> Result<Vec<Cluster>, String> {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let want = format!("mdvis,{}", NAMES[1..].join(","));
    if header.trim_end() != want {
        return Err(format!("the first line should be `{want}`"));
    }
    let mut clusters: Vec<Cluster> = Vec::new();
    for (i, line) in lines.enumerate() {
        let fields: Vec<f64> = line.split(',').map_while(|f| f.trim().parse().ok()).collect();
        let &[visits, ref rest @ ..] = fields.as_slice() else { return Err(format!("line {} is empty", i + 2)) };
        let mut x = [1.0; TERMS];
        if rest.len() != TERMS - 1 || fields.iter().any(|f| !f.is_finite()) {
            return Err(format!("line {} should hold {TERMS} numbers", i + 2));
        }
        x[1..].copy_from_slice(rest);
        // The same text gives the very same bits.
        let same = |c: &&mut Cluster| c.x.map(f64::to_bits) == x.map(f64::to_bits);
        match clusters.last_mut().filter(same) {
            Some(c) => {
                c.visits += visits;
                c.years += 1.0;
            }
            None => clusters.push(Cluster { visits, years: 1.0, x }),
        }
    }
    if clusters.is_empty() { Err("there are no rows".to_owned()) } else { Ok(clusters) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_of_one_person_are_joined() {
        let header = format!("mdvis,{}\n", NAMES[1..].join(","));
        let c = clusters(&(header.clone() + "2,1,0,0,0,0,3.5,1,0,0\n3,1,0,0,0,0,3.5,1,0,0\n0,1,0,0,0,0,9,1,0,0\n"));
        let c = c.unwrap();
        assert_eq!((c.len(), c[0].visits, c[0].years, c[1].x[6]), (2, 5.0, 2.0, 9.0));
        assert!(clusters(&(header + "1,2\n")).unwrap_err().contains("line 2"));
        assert!(clusters("a,b\n").unwrap_err().contains("first line"));
    }
}
