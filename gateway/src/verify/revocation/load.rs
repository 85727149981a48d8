//! Reads revocation lists from files and folders, and remembers what it has read.
//!
//! A reload parses only files whose content has changed. A file that cannot be used is reported and keeps what it gave
//! before, so that a list that was cut off while it was written never replaces a good one. Nothing is watched or fetched.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;

use super::error::ListError;
use super::issuer::{Authority, VerifiedList, verify_list};
use super::set::{RevocationSet, Warning};

/// The most bytes of one file: some four million entries in PEM form.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// SHA-256 of a file's bytes.
type ContentHash = [u8; 32];

/// Why a file or folder gives no lists.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// It is over the limit.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// It is neither DER nor PEM with a block `X509 CRL`.
    #[error("{} holds no revocation list, neither in DER nor as a PEM block \"X509 CRL\"", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A PEM block cannot be decoded.
    #[error("{} is not valid PEM: {reason}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A list in it cannot be used.
    #[error("the revocation list {} cannot be used: {error}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ListError,
    },
}

/// What a load has found.
#[derive(Debug)]
pub struct Loaded {
    /// Every usable list, put into force.
    pub set: RevocationSet,
    /// One for each file or folder that could not be used. Where such a file gave lists before, they are still in the
    /// set.
    pub errors: Vec<FileError>,
    /// About lists that are well-formed and still not in force.
    pub warnings: Vec<Warning>,
}

/// Loads revocation lists, and knows those it has loaded before.
#[derive(Debug, Default)]
pub struct Loader {
    known: HashMap<ContentHash, Vec<Arc<VerifiedList>>>,
    /// What each file last gave.
    files: HashMap<PathBuf, ContentHash>,
}

impl Loader {
    /// Loads every list of `paths`: of files, and of every `.pem`, `.crl` and `.der` file of folders. `others` are lists
    /// from elsewhere that go into the same set; `previous` is the set in force until now, see [`RevocationSet::new`].
    pub fn load(
        &mut self,
        paths: &[PathBuf],
        authorities: &[Authority<'_>],
        others: Vec<Arc<VerifiedList>>,
        previous: Option<&RevocationSet>,
    ) -> Loaded {
        let mut errors = Vec::new();
        let mut files = HashMap::new();
        let mut lists = others;
        for path in paths {
            for file in self.files_of(path, &mut errors) {
                let (hash, found) = match self.file(&file, authorities) {
                    Ok(found) => found,
                    Err(error) => {
                        errors.push(error);
                        match self.before(&file, authorities) {
                            Some(before) => before,
                            None => continue,
                        }
                    }
                };
                lists.extend(found.iter().cloned());
                self.known.insert(hash, found);
                files.insert(file, hash);
            }
        }
        self.files = files;
        let (set, warnings) = RevocationSet::new(lists, previous);
        // A list that is not in force would be kept for nothing.
        self.known
            .retain(|_, lists| lists.iter().any(|list| set.uses(list)));
        Loaded {
            set,
            errors,
            warnings,
        }
    }

    /// The lists that files gave and that were in force after the last load.
    pub fn lists(&self) -> impl Iterator<Item = Arc<VerifiedList>> {
        self.files
            .values()
            .filter_map(|hash| self.known.get(hash))
            .flatten()
            .cloned()
    }

    fn file(
        &self,
        path: &Path,
        authorities: &[Authority<'_>],
    ) -> Result<(ContentHash, Vec<Arc<VerifiedList>>), FileError> {
        let bytes = read(path)?;
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, &bytes).as_ref());
        if let Some(lists) = self.known(&hash, authorities) {
            return Ok((hash, lists));
        }
        Ok((hash, lists(path, bytes, authorities)?))
    }

    /// What was verified before is believed only as long as its issuer may sign lists.
    fn known(
        &self,
        hash: &ContentHash,
        authorities: &[Authority<'_>],
    ) -> Option<Vec<Arc<VerifiedList>>> {
        let lists = self.known.get(hash)?;
        let believed = |list: &Arc<VerifiedList>| {
            authorities
                .iter()
                .any(|authority| authority.id() == list.issuer() && authority.may_sign_lists())
        };
        lists.iter().all(believed).then(|| lists.clone())
    }

    fn before(
        &self,
        path: &Path,
        authorities: &[Authority<'_>],
    ) -> Option<(ContentHash, Vec<Arc<VerifiedList>>)> {
        let hash = *self.files.get(path)?;
        Some((hash, self.known(&hash, authorities)?))
    }

    /// The files that `path` stands for, sorted. Of a folder that cannot be read, those that it had before.
    fn files_of(&self, path: &Path, errors: &mut Vec<FileError>) -> Vec<PathBuf> {
        let was_in = |file: &&PathBuf| file.parent() == Some(path);
        if !path.is_dir() && !self.files.keys().any(|file| was_in(&file)) {
            return vec![path.to_owned()];
        }
        let mut files = match folder(path) {
            Ok(files) => files,
            Err(error) => {
                errors.push(FileError::Read {
                    path: path.to_owned(),
                    error,
                });
                self.files.keys().filter(was_in).cloned().collect()
            }
        };
        files.sort();
        files
    }
}

fn folder(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let is_list = file.extension().is_some_and(|extension| {
            ["pem", "crl", "der"]
                .iter()
                .any(|known| extension == *known)
        });
        if is_list && !file.is_dir() {
            files.push(file);
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let unreadable = |error| FileError::Read {
        path: path.to_owned(),
        error,
    };
    let too_large = || FileError::TooLarge {
        path: path.to_owned(),
        limit: MAX_FILE_BYTES,
    };
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length > MAX_FILE_BYTES {
        return Err(too_large());
    }
    // In one piece: a buffer that grows by doubling would take twice the memory.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    // It may have grown since.
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= MAX_FILE_BYTES => Ok(bytes),
        _ => Err(too_large()),
    }
}

/// The lists of one file: all of them or none. Each is forgotten as DER before the next is decoded.
fn lists(
    path: &Path,
    bytes: Vec<u8>,
    authorities: &[Authority<'_>],
) -> Result<Vec<Arc<VerifiedList>>, FileError> {
    let verified = |der: &[u8]| {
        verify_list(der, authorities)
            .map(Arc::new)
            .map_err(|error| FileError::List {
                path: path.to_owned(),
                error,
            })
    };
    // Every list in DER begins with the tag of a SEQUENCE, the character '0': no PEM file does.
    if bytes.first() == Some(&0x30) {
        return Ok(vec![verified(&bytes)?]);
    }
    let lists = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .map(|block| {
            let der = block.map_err(|error| FileError::Pem {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
            verified(&der)
        })
        .collect::<Result<Vec<_>, _>>()?;
    match lists.is_empty() {
        true => Err(FileError::Empty {
            path: path.to_owned(),
        }),
        false => Ok(lists),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::revocation::tests::support::{NOW, Signer, TestList, entry};
    use crate::verify::revocation::{Coverage, RevocationKey, Role, Status};

    struct Fixture {
        folder: tempfile::TempDir,
        signer: Signer,
        loader: Loader,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().unwrap(),
                signer: Signer::new("a"),
                loader: Loader::default(),
            }
        }

        /// A list in DER that revokes one certificate.
        fn list(&self, number: u64, serial: u8) -> Vec<u8> {
            let list = TestList {
                number: Some(number),
                entries: vec![entry(&[serial])],
                ..TestList::default()
            };
            list.signed_by(&self.signer)
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            fs::write(self.folder.path().join(name), bytes).unwrap();
        }

        fn load(&mut self, previous: Option<&RevocationSet>) -> Loaded {
            let folder = self.folder.path().to_owned();
            self.loader
                .load(&[folder], &[self.signer.authority()], Vec::new(), previous)
        }

        fn revokes(&self, set: &RevocationSet, serial: u8) -> bool {
            let issuer = self.signer.authority().id();
            let key = RevocationKey::new(&issuer, &[serial]);
            let coverage = Coverage::new(Role::EndEntity, None);
            matches!(
                set.status(&issuer, &key, &coverage, NOW),
                Status::Revoked(_)
            )
        }

        fn kept(&self) -> Vec<*const VerifiedList> {
            let lists = self.loader.known.values().flatten();
            lists.map(Arc::as_ptr).collect()
        }
    }

    fn pem(lists: &[&[u8]]) -> Vec<u8> {
        let block = |list: &&[u8]| pem::encode(&pem::Pem::new("X509 CRL", *list));
        lists.iter().map(block).collect::<String>().into_bytes()
    }

    #[test]
    fn reads_der_and_pem_of_several_blocks_and_leaves_other_files_alone() {
        let mut fixture = Fixture::new();
        let other = Signer::new("b");
        let second = TestList::default().signed_by(&other);
        fixture.write("one.pem", &pem(&[&fixture.list(1, 7), &second]));
        fixture.write("notes.txt", b"not a list");
        let folder = fixture.folder.path().to_owned();
        let authorities = [fixture.signer.authority(), other.authority()];
        let loaded = Loader::default().load(&[folder], &authorities, Vec::new(), None);
        assert!(loaded.errors.is_empty(), "{:?}", loaded.errors);
        assert_eq!(loaded.set.lists().count(), 2);
        assert!(fixture.revokes(&loaded.set, 7));

        fixture.write("one.pem", &pem(&[&fixture.list(1, 7)]));
        fixture.write("two.crl", &fixture.list(2, 8));
        let loaded = fixture.load(None);
        assert!(loaded.errors.is_empty(), "{:?}", loaded.errors);
        assert!(fixture.revokes(&loaded.set, 8));
        assert!(!fixture.revokes(&loaded.set, 7), "superseded");
        assert_eq!(loaded.warnings.len(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_and_the_others_are_used() {
        let mut fixture = Fixture::new();
        fixture.write("a-good.der", &fixture.list(1, 7));
        fixture.write("b-garbage.crl", b"\x30\x03abc");
        fixture.write("c-empty.pem", b"");
        fixture.write("d-cut.pem", b"-----BEGIN X509 CRL-----\nMIIB");
        fixture.write(
            "e-unknown.der",
            &TestList::default().signed_by(&Signer::new("b")),
        );
        let loaded = fixture.load(None);
        assert!(fixture.revokes(&loaded.set, 7));
        let errors: Vec<String> = loaded.errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 4, "{errors:?}");
        for (error, parts) in errors.iter().zip([
            ["b-garbage.crl", "not a well-formed revocation list"],
            ["c-empty.pem", "holds no revocation list"],
            ["d-cut.pem", "PEM"],
            ["e-unknown.der", "CN=b must be among trust.anchors"],
        ]) {
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }

    #[test]
    fn a_file_named_by_itself_must_exist() {
        let missing = PathBuf::from("/nonexistent/list.pem");
        let loaded = Loader::default().load(&[missing], &[], Vec::new(), None);
        assert!(matches!(loaded.errors[..], [FileError::Read { .. }]));
        assert_eq!(loaded.set.lists().count(), 0);
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let fixture = Fixture::new();
        let path = fixture.folder.path().join("large.crl");
        // Sparse: it occupies nothing.
        let file = File::create(&path).unwrap();
        file.set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(matches!(read(&path), Err(FileError::TooLarge { .. })));
    }

    #[test]
    fn a_broken_file_keeps_what_it_gave_before() {
        let mut fixture = Fixture::new();
        let good = fixture.list(2, 7);
        fixture.write("list.crl", &good);
        let mut loaded = fixture.load(None);
        for _ in 0..2 {
            fixture.write("list.crl", &good[..good.len() / 2]);
            loaded = fixture.load(Some(&loaded.set));
            assert_eq!(loaded.errors.len(), 1);
            assert!(fixture.revokes(&loaded.set, 7));
        }
        fixture.write("list.crl", &fixture.list(3, 8));
        let loaded = fixture.load(Some(&loaded.set));
        assert!(loaded.errors.is_empty());
        assert!(fixture.revokes(&loaded.set, 8) && !fixture.revokes(&loaded.set, 7));
    }

    #[test]
    fn a_folder_that_disappears_keeps_what_it_gave_before() {
        let mut fixture = Fixture::new();
        let path = fixture.folder.path().join("crl");
        fs::create_dir(&path).unwrap();
        fixture.write("crl/list.crl", &fixture.list(1, 7));
        let paths = [fixture.folder.path().join("crl/")];
        let mut loaded =
            fixture
                .loader
                .load(&paths, &[fixture.signer.authority()], Vec::new(), None);
        assert!(loaded.errors.is_empty());
        fs::remove_dir_all(&path).unwrap();
        for _ in 0..2 {
            loaded = fixture.loader.load(
                &paths,
                &[fixture.signer.authority()],
                Vec::new(),
                Some(&loaded.set),
            );
            assert!(!loaded.errors.is_empty());
            assert!(fixture.revokes(&loaded.set, 7));
        }
    }

    #[test]
    fn one_list_in_two_files_is_kept_once() {
        let mut fixture = Fixture::new();
        let list = fixture.list(1, 7);
        fixture.write("one.crl", &list);
        fixture.write("two.crl", &list);
        let first = fixture.load(None);
        let kept = fixture.kept();
        assert_eq!((kept.len(), first.warnings.len()), (1, 0));
        let second = fixture.load(Some(&first.set));
        assert_eq!(fixture.kept(), kept);
        assert!(fixture.revokes(&second.set, 7));
    }

    #[test]
    fn an_older_file_does_not_replace_a_newer_list() {
        let mut fixture = Fixture::new();
        fixture.write("list.crl", &fixture.list(2, 7));
        let before = fixture.load(None).set;
        fixture.write("list.crl", &fixture.list(1, 8));
        let loaded = fixture.load(Some(&before));
        assert!(fixture.revokes(&loaded.set, 7));
        assert!(matches!(loaded.warnings[..], [Warning::Rollback { .. }]));
    }

    #[test]
    fn what_did_not_change_is_not_parsed_again_and_what_is_not_used_is_forgotten() {
        let mut fixture = Fixture::new();
        fixture.write("list.crl", &fixture.list(1, 7));
        let first = fixture.load(None);
        let kept = fixture.kept();
        assert_eq!(kept.len(), 1);
        let second = fixture.load(Some(&first.set));
        assert_eq!(fixture.kept(), kept, "the same list, shared");
        assert!(fixture.revokes(&second.set, 7));

        fixture.write("list.crl", &fixture.list(2, 8));
        let third = fixture.load(Some(&second.set));
        assert_eq!(fixture.kept().len(), 1);
        assert_ne!(fixture.kept(), kept);
        assert!(fixture.revokes(&third.set, 8));
        let list = Arc::downgrade(fixture.loader.known.values().flatten().next().unwrap());
        fs::remove_file(fixture.folder.path().join("list.crl")).unwrap();
        let fourth = fixture.load(Some(&third.set));
        assert_eq!(fourth.set.lists().count(), 0);
        assert!(list.upgrade().is_some(), "the old set is still in use");
        drop(third);
        assert!(list.upgrade().is_none(), "nothing but sets keeps a list");
    }

    #[test]
    fn a_list_is_forgotten_with_the_trust_in_its_issuer() {
        let mut fixture = Fixture::new();
        fixture.write("list.crl", &fixture.list(1, 7));
        let before = fixture.load(None).set;
        let folder = fixture.folder.path().to_owned();
        let other = Signer::new("b");
        let loaded =
            fixture
                .loader
                .load(&[folder], &[other.authority()], Vec::new(), Some(&before));
        assert!(matches!(loaded.errors[..], [FileError::List { .. }]));
        assert_eq!(loaded.set.lists().count(), 0);
    }
}
