//! Help, completions, manual, configuration.

use crate::run::Bmm;

#[test]
fn completions_and_manual_know_the_commands() {
    let bmm = Bmm::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = bmm.run(&["completions", shell]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains("wallet") && ran.stdout.contains("password-file"), "{shell}");
    }
    let page = bmm.run(&["man"]);
    assert!(page.code == 0 && page.stdout.contains(".TH bmm 1"), "{page:?}");
    let pages = bmm.dir.path().join("man1");
    assert_eq!(bmm.run(&["man", pages.to_str().expect("UTF-8")]).code, 0);
    assert!(pages.join("bmm-wallet-send.1").exists());
}

#[test]
fn every_wallet_command_shows_examples() {
    let bmm = Bmm::new();
    for command in ["new", "import", "list", "show", "default", "balance", "send"] {
        let ran = bmm.run(&["wallet", command, "--help"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains(&format!("  bmm wallet {command}")), "{}", ran.stdout);
    }
}

#[test]
fn every_command_of_chains_and_databases_shows_examples() {
    let bmm = Bmm::new();
    let chain = ["export", "import", "sync"].map(|command| ["chain", command]);
    let db = ["stats", "verify", "compact", "backup"].map(|command| ["db", command]);
    for [group, command] in chain.into_iter().chain(db) {
        let ran = bmm.run(&[group, command, "--help"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains(&format!("  bmm {group} {command}")), "{}", ran.stdout);
    }
}

#[test]
fn unknown_keys_of_the_configuration_are_named_with_a_hint() {
    let bmm = Bmm::new();
    let config = bmm.file("config.toml", "[mine]\nshare = 3\n");
    let told = bmm.fails(2, &["config", "show", "--config", config.to_str().expect("UTF-8")]);
    assert!(told.contains("config.toml") && told.contains("unknown field `share`"), "{told}");
    assert!(told.contains("hint:") && told.contains("share_percent"), "{told}");
}

#[test]
fn the_configuration_that_is_shown_can_be_used() {
    let bmm = Bmm::new();
    let shown = bmm.run(&["config", "show"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    let config = bmm.file("config.toml", &shown.stdout);
    let again = bmm.run(&["config", "show", "--config", config.to_str().expect("UTF-8")]);
    assert_eq!(again.stdout, shown.stdout);
}
