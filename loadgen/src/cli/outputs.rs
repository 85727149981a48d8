//! The files into which a report goes, for every command that makes one.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use loadgen::RunResult;
use loadgen::report::{csv, file, html, markdown};

/// Report files.
#[derive(Debug, Args)]
pub(crate) struct Outputs {
    /// Write the report as a page that needs nothing else to be read.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write a short report in Markdown, for a pull request.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write one line per second to this file, and the quantiles to one with `-quantiles` in its name.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

impl Outputs {
    /// Whether any file is wanted.
    pub(crate) fn any(&self) -> bool {
        self.html.is_some() || self.markdown.is_some() || self.csv.is_some()
    }

    /// Finds out before the work, not after it, that its result (`--json`) or a report of it cannot be written.
    pub(crate) fn check(&self, json: Option<&Path>) -> anyhow::Result<()> {
        let quantiles = self.csv.as_deref().map(quantiles_beside);
        check_files(&[
            ("--json", json),
            ("--html", self.html.as_deref()),
            ("--markdown", self.markdown.as_deref()),
            ("--csv", self.csv.as_deref()),
            ("the quantiles of --csv", quantiles.as_deref()),
        ])
    }

    /// Writes the files that are wanted, and says so on standard error.
    pub(crate) fn write(&self, result: &RunResult) -> anyhow::Result<()> {
        if let Some(path) = &self.html {
            write("--html", path, || html::page(result))?;
        }
        if let Some(path) = &self.markdown {
            write("--markdown", path, || markdown::render(result))?;
        }
        if let Some(path) = &self.csv {
            write("--csv", path, || csv::series(result))?;
            write("--csv", &quantiles_beside(path), || csv::quantiles(result))?;
        }
        Ok(())
    }
}

/// Writes one report file and says so.
pub(crate) fn write(flag: &str, path: &Path, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    file::write(path, &text()).with_context(|| format!("{flag} {}", path.display()))?;
    eprintln!("written: {}", path.display());
    Ok(())
}

/// `result.csv` → `result-quantiles.csv`.
fn quantiles_beside(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push("-quantiles");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Files that can be written, each by one flag.
pub(crate) fn check_files(files: &[(&str, Option<&Path>)]) -> anyhow::Result<()> {
    let mut wanted: Vec<(&str, &Path)> = Vec::new();
    for (flag, path) in files {
        let Some(path) = path else { continue };
        check_writable(flag, path)?;
        if let Some((first, _)) = wanted.iter().find(|(_, other)| other == path) {
            return Err(anyhow!(
                "{first} and {flag} would both write {}: name another file",
                path.display()
            ));
        }
        wanted.push((flag, path));
    }
    Ok(())
}

/// A file in an existing folder in which this process may write.
pub(crate) fn check_writable(flag: &str, path: &Path) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if path.is_dir() || !folder.is_dir() {
        return Err(anyhow!(
            "{flag} {}: not a file in an existing folder",
            path.display()
        ));
    }
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK)
        .map_err(io::Error::from)
        .with_context(|| format!("{flag} {}: cannot write there", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_flags_write_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let (page, series) = (folder.path().join("a"), folder.path().join("b.csv"));
        let quantiles = folder.path().join("b-quantiles.csv");
        let outputs = Outputs {
            html: Some(page.clone()),
            markdown: None,
            csv: Some(series),
        };
        assert!(outputs.check(None).is_ok());
        for json in [&page, &quantiles] {
            let complaint = outputs.check(Some(json)).unwrap_err().to_string();
            assert!(complaint.contains("--json and "), "{complaint}");
        }
    }

    #[test]
    fn the_quantiles_lie_beside_the_series() {
        for (series, quantiles) in [
            ("a/result.csv", "a/result-quantiles.csv"),
            ("result", "result-quantiles"),
        ] {
            assert_eq!(quantiles_beside(Path::new(series)), Path::new(quantiles));
        }
    }
}
