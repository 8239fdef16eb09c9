//! What attacks on the chain's rewards cost and gain.

use bmm_sim::economy::{Options, Row, run};

/// Rows of one attack that pay, and how many there are.
fn paying(rows: &[Row], attack: &str) -> (usize, usize) {
    let of = rows.iter().filter(|row| row.attack == attack);
    (of.clone().filter(|row| row.pays()).count(), of.count())
}

#[test]
fn spoofs_referrals_and_contradictions_do_not_pay() {
    let rows = run(Options::default()).rows;
    for attack in ["spoofed work", "referral farming", "bought contradiction"] {
        let (pays, all) = paying(&rows, attack);
        assert!(pays == 0 && all >= 3, "{attack}: {pays} of {all}");
    }
    // Splitting one's work among names brings the same to a hundredth, and referring oneself nothing.
    for row in rows.iter().filter(|row| row.attack == "spoofed work") {
        assert!(row.gain.abs_diff(row.cost) * 40 < row.cost, "{row:?}");
    }
}

/// Who mines gets back of a fee the hash class's part of the pot as well, so that a cap of nine tenths of the fee does not do; one that leaves the
/// compute class less than the hash class takes of the pot does.
#[test]
fn own_compute_does_not_pay_below_the_compute_class_part_of_the_pot() {
    let rows = run(Options { fee_return: Some(9_000), ..Options::default() }).rows;
    assert_ne!(paying(&rows, "own compute").0, 0);
    let rows = run(Options::default()).rows;
    assert_eq!(rows.iter().filter(|row| row.pays()).count(), 0, "{rows:#?}");
}

#[test]
fn the_table_has_a_line_for_each_row() {
    let report = run(Options::default());
    assert_eq!(report.to_text().lines().count(), report.rows.len() + 2);
    assert!(report.to_json().contains("\"own compute\""));
}
