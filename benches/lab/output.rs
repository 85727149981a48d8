//! Where reports go, and writing them there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The folder for a command's output, made: the one asked for, or `lab-out/COMMAND-TIME` here.
pub(crate) fn folder(asked: Option<&Path>, command: &str) -> anyhow::Result<PathBuf> {
    let folder = match asked {
        Some(folder) => folder.to_owned(),
        None => {
            let stamp = time::format_description::parse_borrowed::<2>(
                "[year][month][day]T[hour][minute][second]Z",
            )?;
            let now = OffsetDateTime::now_utc().format(&stamp)?;
            Path::new("lab-out").join(format!("{command}-{now}"))
        }
    };
    fs::create_dir_all(&folder).with_context(|| {
        format!(
            "cannot make the folder {} for the report (--out)",
            folder.display()
        )
    })?;
    Ok(folder)
}

/// Writes `report` as JSON and `page` beside it; says where.
pub(crate) fn write(folder: &Path, report: &impl Serialize, page: &str) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(report)?;
    for (name, text) in [(JSON, json.as_str()), (PAGE, page)] {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        let shown = path.canonicalize().unwrap_or(path);
        println!("{name:<12} {}", shown.display());
    }
    Ok(())
}

/// The report's file name as JSON.
pub(crate) const JSON: &str = "report.json";
/// And as a page.
pub(crate) const PAGE: &str = "report.html";

/// This moment as RFC 3339, UTC.
pub(crate) fn now() -> String {
    // Nobody needs the nanoseconds, and they are hard to read past.
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0)
        .unwrap_or(now)
        .format(&Rfc3339)
        .unwrap_or_default()
}
