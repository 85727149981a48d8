//! The build script of every program here: tells it which commit it was built from.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=../commit.rs");
    // Development builds would be made anew after every commit, for a line that nobody reads.
    let commit = if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rerun-if-changed=../.git/HEAD");
        println!("cargo::rerun-if-changed=../.git/refs/heads");
        head().unwrap_or_else(|| "unknown commit".to_owned())
    } else {
        "development build".to_owned()
    };
    println!("cargo::rustc-env=FLEETGATE_COMMIT={commit}");
}

fn head() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()?;
    let commit = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !commit.trim().is_empty()).then(|| commit.trim().to_owned())
}
