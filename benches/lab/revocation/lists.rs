//! The revocation lists of the experiments: each kind in a folder of its own, so that a gateway can be given one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use certs_gen::crl::{self, CrlSpec};
use certs_gen::layout::device_id;
use certs_gen::revocation::{RevokeSpec, revoke};

use super::choices::Choices;
use crate::gateway_process::PKI;

/// Lists that name nobody.
const NOBODY: &str = "lists-nobody";
/// A list that names nobody of the fleet and so many others.
pub(super) const LONG: &str = "lists-long";
/// The lists after some devices were revoked.
const REVOKED: &str = "lists-revoked";

/// All lists, made.
#[derive(Debug)]
pub(super) struct Lists {
    work: PathBuf,
    /// File names of those that name revoked devices.
    naming: Vec<PathBuf>,
}

/// Lists that lie beside their place, to be renamed into it.
#[derive(Debug)]
pub(super) struct Staged {
    moves: Vec<(PathBuf, PathBuf)>,
}

impl Lists {
    /// Makes them all in `work`, for the fleet that is there.
    pub(super) fn make(work: &Path, choices: &Choices) -> anyhow::Result<Lists> {
        write(work, 0, NOBODY)?;
        write(work, choices.entries, LONG)?;
        let mut spec = RevokeSpec::new(work.join(PKI));
        spec.devices = choices.revoked().into_iter().map(device_id).collect();
        revoke(&spec).context("cannot revoke devices")?;
        let naming = write(work, 0, REVOKED)?;
        Ok(Lists {
            work: work.to_owned(),
            naming,
        })
    }

    /// Makes `folder` with lists that name nobody.
    pub(super) fn lay_out(&self, folder: &str) -> anyhow::Result<()> {
        let folder = self.work.join(folder);
        make_folder(&folder)?;
        for entry in fs::read_dir(self.work.join(NOBODY))? {
            let entry = entry?;
            copy(&entry.path(), &folder.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Gets the lists that revoke devices ready for `folder`, on the same file system.
    pub(super) fn stage(&self, folder: &str) -> anyhow::Result<Staged> {
        let beside = self.work.join(format!("{folder}-staged"));
        make_folder(&beside)?;
        let mut moves = Vec::new();
        for name in &self.naming {
            let staged = beside.join(name);
            copy(&self.work.join(REVOKED).join(name), &staged)?;
            moves.push((staged, self.work.join(folder).join(name)));
        }
        Ok(Staged { moves })
    }
}

impl Staged {
    /// Renames each into its place: a reader finds the old list or the new one.
    pub(super) fn put_into_place(self) -> anyhow::Result<()> {
        for (from, to) in self.moves {
            fs::rename(&from, &to).with_context(|| format!("cannot write {}", to.display()))?;
        }
        Ok(())
    }
}

/// Makes the fleet's lists with `pad` further entries and moves them to `folder`; the file names of those with entries.
fn write(work: &Path, pad: usize, folder: &str) -> anyhow::Result<Vec<PathBuf>> {
    let folder = work.join(folder);
    make_folder(&folder)?;
    let mut spec = CrlSpec::new(work.join(PKI));
    spec.pad = pad;
    let written = crl::write(&spec).context("cannot make revocation lists")?;
    let mut naming = Vec::new();
    for list in written.lists {
        let name = PathBuf::from(list.path.file_name().context("a list without a name")?);
        fs::rename(&list.path, folder.join(&name))?;
        if list.revoked > 0 {
            naming.push(name);
        }
    }
    Ok(naming)
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::fleet;

    #[test]
    fn only_the_issuer_of_devices_has_a_list_to_put_into_place() {
        let work = tempfile::tempdir().unwrap();
        let choices = Choices {
            devices: 18,
            entries: 100,
            ..fixture::choices()
        };
        fleet::make(&work.path().join(PKI), choices.devices).unwrap();
        let lists = Lists::make(work.path(), &choices).unwrap();
        assert_eq!(lists.naming, [Path::new("intermediate-00.pem")]);
        lists.lay_out("live").unwrap();
        let place = work.path().join("live/intermediate-00.pem");
        let before = fs::read(&place).unwrap();
        let staged = lists.stage("live").unwrap();
        assert_eq!(fs::read(&place).unwrap(), before);
        staged.put_into_place().unwrap();
        let revoked = fs::read(work.path().join(REVOKED).join("intermediate-00.pem")).unwrap();
        assert_eq!(fs::read(&place).unwrap(), revoked);
        assert!(revoked.len() > before.len());
        let long = fs::read(work.path().join(LONG).join("intermediate-00.pem")).unwrap();
        assert!(long.len() > 100 * 20, "{}", long.len());
        assert!(work.path().join("live/trust-anchor.pem").exists());
    }
}
