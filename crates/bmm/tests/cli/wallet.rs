//! `bmm wallet` without a node.

use crate::run::Bmm;
use serde_json::{Value, json};

const JUNK: &str = "test test test test test test test test test test test junk";
const JUNK_0: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const JUNK_1: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const JUNK_0_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

fn with_password() -> Bmm {
    Bmm::new().env("BMM_PASSWORD", "correct horse")
}

fn path(bmm: &Bmm, name: &str, text: &str) -> String {
    bmm.file(name, text).to_str().expect("UTF-8").to_owned()
}

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn a_new_wallet_is_listed_shown_and_restored_from_its_phrase() {
    let bmm = with_password();
    assert_eq!(bmm.json(&["wallet", "list"]), json!({ "wallets": [] }));
    let made = bmm.json(&["wallet", "new", "savings", "--words", "24"]);
    assert_eq!(keys(&made), ["address", "default", "derivation", "file", "name", "password", "phrase"]);
    let phrase = made["phrase"].as_str().expect("a phrase");
    assert_eq!((phrase.split(' ').count(), &made["default"]), (24, &Value::Bool(true)));

    let listed = bmm.json(&["wallet", "list"]);
    assert_eq!(listed["wallets"][0]["address"], made["address"]);
    assert_eq!(keys(&listed["wallets"][0]), ["address", "default", "file", "name", "password"]);
    let shown = bmm.json(&["wallet", "show"]);
    assert_eq!((&shown["address"], &shown["balance_bmm"]), (&made["address"], &Value::Null));

    let other = with_password();
    let phrase_file = path(&other, "phrase", phrase);
    let restored = other.json(&["wallet", "import", "back", "--phrase-file", &phrase_file]);
    assert_eq!(
        (&restored["address"], keys(&restored)),
        (&made["address"], vec!["address", "default", "file", "name", "password"])
    );
}

#[test]
fn the_phrase_is_shown_once_and_lies_nowhere() {
    let bmm = with_password();
    let made = bmm.run(&["wallet", "new", "savings"]);
    assert_eq!(made.code, 0, "{made:?}");
    let phrase = made.stdout.lines().find_map(|line| line.strip_prefix("phrase    ")).expect("the phrase's line");
    assert_eq!(phrase.split(' ').count(), 12);
    assert!(made.stdout.contains("not shown again"), "{}", made.stdout);
    assert!(!bmm.run(&["wallet", "show", "savings"]).stdout.contains(phrase));
    for entry in std::fs::read_dir(bmm.data().join("wallets")).expect("the wallets' folder") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("text");
        assert!(!text.contains(phrase) && !text.contains("correct horse"));
    }
}

#[test]
fn phrases_and_keys_come_from_files_environment_and_standard_input() {
    let bmm = with_password();
    let file = path(&bmm, "phrase", JUNK);
    let address = |bmm: &Bmm, args: &[&str]| bmm.json(&[&["wallet", "import"], args].concat())["address"].clone();
    assert_eq!(address(&bmm, &["first", "--phrase-file", &file]), JUNK_0);
    assert_eq!(address(&bmm, &["second", "--phrase-file", &file, "--index", "1", "--default"]), JUNK_1);
    assert_eq!(bmm.json(&["wallet", "show"])["name"], "second");
    assert_eq!(bmm.json(&["wallet", "default", "first"])["default"], true);
    assert_eq!(bmm.json(&["wallet", "show"])["name"], "first");
    let told = bmm.fails(1, &["wallet", "import", "again", "--phrase-file", &file]);
    assert!(told.contains("wallet first holds this key already"), "{told}");

    let key = with_password();
    assert_eq!(address(&key, &["one", "--key-file", &path(&key, "key", JUNK_0_KEY)]), JUNK_0);
    assert_eq!(address(&with_password().env("BMM_PHRASE", JUNK), &["one", "--index", "1"]), JUNK_1);
    assert_eq!(address(&with_password().env("BMM_PRIVATE_KEY", JUNK_0_KEY), &["one"]), JUNK_0);
    let piped = with_password().run_with_input(&["wallet", "import", "one", "--phrase-file", "-"], JUNK);
    assert!(piped.code == 0 && piped.stdout.contains(JUNK_0), "{piped:?}");
}

#[test]
fn keystore_files_go_from_one_folder_to_another_with_their_password() {
    let bmm = with_password();
    let made = bmm.json(&["wallet", "new", "savings"]);
    let file = made["file"].as_str().expect("a path");
    let wrong = Bmm::new().env("BMM_PASSWORD", "battery staple");
    let told = wrong.fails(1, &["wallet", "import", "copy", "--keystore", file]);
    assert!(told.contains("savings.json") && told.contains("password is wrong"), "{told}");

    let other = Bmm::new();
    let password = path(&other, "password", "correct horse\n");
    let copy = other.json(&["wallet", "import", "copy", "--keystore", file, "--password-file", &password]);
    assert_eq!(copy["address"], made["address"]);
    let told = other.fails(1, &["wallet", "import", "bad", "--keystore", &password, "--password-file", &password]);
    assert!(told.contains("not a keystore") && told.contains("hint:"), "{told}");
}

#[test]
fn without_terminal_and_password_the_options_are_named() {
    let bmm = Bmm::new();
    let told = bmm.fails(1, &["wallet", "new", "savings"]);
    assert!(
        told.contains("no terminal") && told.contains("--password-file") && told.contains("BMM_PASSWORD"),
        "{told}"
    );
    let told = with_password().fails(1, &["wallet", "import", "savings"]);
    assert!(told.contains("--phrase-file") && told.contains("BMM_PRIVATE_KEY"), "{told}");
    let empty = path(&bmm, "empty", "\n");
    let told = bmm.fails(1, &["wallet", "new", "savings", "--password-file", &empty]);
    assert!(told.contains("empty"), "{told}");
    assert_eq!(bmm.json(&["wallet", "list"]), json!({ "wallets": [] }), "nothing was made");
}

#[test]
fn bad_names_and_taken_names_are_refused() {
    let bmm = with_password();
    for name in ["Savings", "a/b", "0xab", "dev", "a.json"] {
        let told = bmm.fails(1, &["wallet", "new", name]);
        assert!(told.contains(name) && told.contains("hint:"), "{told}");
    }
    bmm.json(&["wallet", "new", "savings"]);
    let told = bmm.fails(1, &["wallet", "new", "savings"]);
    assert!(told.contains("already a wallet savings"), "{told}");
    assert_eq!(bmm.run(&["wallet", "new", "other", "--words", "13"]).code, 2);
}

#[test]
fn wrong_phrases_and_keys_are_told_without_showing_them() {
    let bmm = with_password();
    let cases = [
        ("--phrase-file", JUNK.replace("junk", "junq"), "word 12"),
        ("--phrase-file", JUNK.replace("junk", "test"), "checksum"),
        ("--key-file", JUNK_0_KEY.replace("ac09", ""), "not a private key"),
        ("--key-file", format!("0x{}", "f".repeat(64)), "not a private key"),
    ];
    for (option, text, expected) in cases {
        let told = bmm.fails(1, &["wallet", "import", "one", option, &path(&bmm, "secret", &text)]);
        assert!(told.contains(expected), "{told}");
        assert!(!told.contains("junq") && !told.contains("74bec39a"), "{told}");
    }
}

#[test]
fn without_a_node_balance_and_send_say_how_to_get_one() {
    let bmm = with_password();
    bmm.json(&["wallet", "new", "savings"]);
    for args in [&["wallet", "balance"][..], &["wallet", "send", JUNK_0, "1", "--yes"], &["wallet", "balance", JUNK_1]]
    {
        let told = bmm.fails(1, args);
        assert!(told.contains("no node runs") && told.contains("bmm up"), "{told}");
    }
    let told = bmm.fails(1, &["wallet", "balance", "--rpc", "http://127.0.0.1:1"]);
    assert!(told.contains("no node answers at http://127.0.0.1:1") && told.contains("bmm up"), "{told}");
    let told = bmm.fails(2, &["wallet", "balance", "--rpc", "https://127.0.0.1:1"]);
    assert!(told.contains("only http://"), "{told}");
}

#[test]
fn receivers_and_amounts_are_checked_before_anything_else() {
    let bmm = with_password();
    bmm.json(&["wallet", "new", "savings"]);
    let typo = JUNK_0.replace("f39F", "f39f");
    let told = bmm.fails(1, &["wallet", "send", &typo, "1"]);
    assert!(told.contains("checksum"), "{told}");
    assert!(bmm.fails(1, &["wallet", "send", "0x12", "1"]).contains("40 hexadecimal digits"));
    assert!(bmm.fails(1, &["wallet", "send", "nobody", "1"]).contains("no wallet nobody"));
    let told = bmm.fails(2, &["wallet", "send", JUNK_0, "five"]);
    assert!(told.contains("not an amount of BMM"), "{told}");
}

#[test]
fn failures_are_one_object_under_json() {
    let ran = Bmm::new().run(&["wallet", "show", "nobody", "--json"]);
    let object: Value = serde_json::from_str(&ran.stderr).expect("one JSON object on stderr");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert_eq!(object["error"]["kind"], "user");
    assert_eq!(object["error"]["message"], "there is no wallet nobody");
    assert!(object["error"]["hints"][0].as_str().expect("a hint").contains("wallet list"));
}
