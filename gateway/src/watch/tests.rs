use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Change, QUIET, Watch, WatchError, refused};

/// Longer than any of these takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// As events name it: without symbolic links.
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn make(&self, name: &str) -> PathBuf {
        fs::create_dir(self.path(name)).unwrap();
        self.path(name)
    }

    /// Writes beside the file and renames, as careful programs do.
    fn replace(&self, name: &str, text: &str) {
        let beside = self.write(".new", text);
        fs::rename(beside, self.path(name)).unwrap();
    }

    /// Turns the link `name` to `target` in one step.
    fn turn(&self, name: &str, target: &str) {
        let beside = self.path("..data_tmp");
        symlink(target, &beside).unwrap();
        fs::rename(beside, self.path(name)).unwrap();
    }
}

async fn changed(watch: &mut Watch) -> Change {
    timeout(PATIENCE, watch.changed())
        .await
        .expect("the change is seen")
}

/// Waits until a change lies ready that nobody has taken note of.
async fn unread(watch: &Watch) {
    let ready = async {
        while watch.armed.events.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ready).await.expect("the change is seen");
}

fn watch(paths: &[&Path]) -> Watch {
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    Watch::new(&paths).unwrap()
}

#[tokio::test]
async fn a_file_written_in_place_is_seen() {
    let folder = Folder::new();
    let file = folder.write("server.key", "one");
    let mut watch = watch(&[&file]);
    for text in ["two", "three"] {
        folder.write("server.key", text);
        assert_eq!(changed(&mut watch).await.as_ref(), Some(&file));
    }
}

#[tokio::test]
async fn a_file_replaced_by_a_rename_is_seen_every_time() {
    let folder = Folder::new();
    let file = folder.write("server.pem", "one");
    let mut watch = watch(&[&file]);
    for text in ["two", "three", "four"] {
        folder.replace("server.pem", text);
        assert_eq!(changed(&mut watch).await.as_ref(), Some(&file));
    }
}

#[tokio::test]
async fn a_file_that_goes_and_comes_back_is_seen() {
    let folder = Folder::new();
    let file = folder.write("server.pem", "one");
    let mut watch = watch(&[&file]);
    fs::remove_file(&file).unwrap();
    assert_eq!(changed(&mut watch).await.as_ref(), Some(&file));
    folder.write("server.pem", "two");
    assert_eq!(changed(&mut watch).await.as_ref(), Some(&file));
}

/// A folder as Kubernetes mounts secrets: files link through `..data` into a folder of one version.
fn mounted() -> Folder {
    let folder = Folder::new();
    folder.make("..2024_1");
    folder.write("..2024_1/server.pem", "one");
    symlink("..2024_1", folder.path("..data")).unwrap();
    symlink("..data/server.pem", folder.path("server.pem")).unwrap();
    folder
}

async fn turns_are_seen(folder: &Folder, mut watch: Watch) {
    let data = folder.path("..data");
    for version in 2..5 {
        let (old, new) = (
            format!("..2024_{}", version - 1),
            format!("..2024_{version}"),
        );
        folder.make(&new);
        folder.write(&format!("{new}/server.pem"), "next");
        folder.turn("..data", &new);
        fs::remove_dir_all(folder.path(&old)).unwrap();
        assert_eq!(changed(&mut watch).await.as_ref(), Some(&data));
    }
    let file = folder.path("..2024_4/server.pem");
    fs::write(&file, "in place").unwrap();
    assert_eq!(changed(&mut watch).await, Some(file));
}

#[tokio::test]
async fn a_link_turned_to_a_new_version_is_seen() {
    let folder = mounted();
    let watch = watch(&[&folder.path("server.pem")]);
    turns_are_seen(&folder, watch).await;
}

#[tokio::test]
async fn links_in_a_folder_named_as_a_whole_are_followed() {
    let folder = mounted();
    let watch = watch(&[&folder.path("")]);
    turns_are_seen(&folder, watch).await;
}

#[tokio::test]
async fn a_link_to_a_folder_is_followed() {
    let folder = Folder::new();
    folder.make("one");
    folder.write("one/server.pem", "one");
    let two = folder.make("two");
    let current = folder.path("current");
    symlink(folder.path("one"), &current).unwrap();
    let mut watch = watch(&[&current.join("server.pem")]);
    folder.turn("current", "two");
    assert_eq!(changed(&mut watch).await, Some(current));
    fs::write(two.join("server.pem"), "two").unwrap();
    assert_eq!(changed(&mut watch).await, Some(two.join("server.pem")));
}

#[tokio::test]
async fn files_come_into_a_folder_and_go() {
    let folder = Folder::new();
    let mut watch = watch(&[&folder.path("")]);
    let file = folder.write("anchor.crt", "one");
    assert_eq!(changed(&mut watch).await.as_ref(), Some(&file));
    folder.replace("anchor.crt", "two");
    assert_eq!(changed(&mut watch).await.as_ref(), Some(&file));
    fs::rename(&file, folder.path("anchor.off")).unwrap();
    assert_eq!(changed(&mut watch).await.as_ref(), Some(&file));
}

#[tokio::test]
async fn a_folder_replaced_by_another_is_seen() {
    let folder = Folder::new();
    let certificates = folder.make("certificates");
    let file = folder.write("certificates/server.pem", "one");
    let mut of_folder = watch(&[&certificates]);
    let mut of_file = watch(&[&file]);
    folder.make("new");
    folder.write("new/server.pem", "two");
    fs::rename(&certificates, folder.path("old")).unwrap();
    fs::rename(folder.path("new"), &certificates).unwrap();
    assert!(changed(&mut of_folder).await.is_some());
    assert!(changed(&mut of_file).await.is_some());
    fs::write(&file, "three").unwrap();
    assert_eq!(changed(&mut of_folder).await.as_ref(), Some(&file));
    assert_eq!(changed(&mut of_file).await.as_ref(), Some(&file));
}

#[tokio::test]
async fn a_path_that_does_not_exist_yet_is_awaited() {
    let folder = Folder::new();
    let file = folder.path("later/still/server.pem");
    let mut watch = watch(&[&file]);
    let later = folder.make("later");
    assert_eq!(changed(&mut watch).await, Some(later));
    let still = folder.make("later/still");
    assert_eq!(changed(&mut watch).await, Some(still));
    fs::write(&file, "here").unwrap();
    assert_eq!(changed(&mut watch).await, Some(file));
}

/// Events come in order, and the first that counts is reported: had one of those before it counted, it would be named.
#[tokio::test]
async fn reading_and_strangers_do_not_count() {
    let folder = Folder::new();
    let named = folder.write("gateway.toml", "one");
    let certificates = folder.make("certificates");
    folder.write("certificates/anchor.pem", "one");
    let mut watch = watch(&[&named, &certificates]);
    for round in 0..3 {
        assert_eq!(fs::read_to_string(&named).unwrap().len(), 3);
        assert!(fs::read_dir(&certificates).unwrap().count() >= 1);
        fs::read(folder.path("certificates/anchor.pem")).unwrap();
        folder.write("gateway.log", "a line");
        folder.write("gateway.toml~", "one");
        folder.write("certificates/access.log", "a line");
        folder.write("certificates/.anchor.pem.swp", "a line");
        folder.replace("certificates/README", "a line");
        folder.make(&format!("certificates/folder-{round}"));
        folder.write("gateway.toml", "two");
        assert_eq!(changed(&mut watch).await.as_ref(), Some(&named));
    }
}

#[tokio::test]
async fn many_changes_are_one() {
    let folder = Folder::new();
    let (one, two) = (folder.write("one.pem", ""), folder.write("two.pem", ""));
    let mut watch = watch(&[&one, &two]);
    for _ in 0..100 {
        folder.replace("one.pem", "next");
    }
    assert_eq!(changed(&mut watch).await, Some(one));
    folder.write("two.pem", "next");
    assert_eq!(changed(&mut watch).await, Some(two));
}

#[tokio::test]
async fn endless_changes_are_reported_all_the_same() {
    let folder = Folder::new();
    let file = folder.write("anchor.pem", "");
    let mut watch = watch(&[&file]);
    let noise = async {
        let mut ticks = interval(QUIET / 8);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            folder.write("anchor.pem", "again");
        }
    };
    tokio::select! {
        change = changed(&mut watch) => assert_eq!(change, Some(file.clone())),
        () = noise => {}
    }
}

#[tokio::test]
async fn a_change_outlives_a_caller_that_stops_waiting() {
    let folder = Folder::new();
    let file = folder.write("anchor.pem", "");
    let mut watch = watch(&[&file]);
    folder.write("anchor.pem", "next");
    unread(&watch).await;
    tokio::select! {
        biased;
        change = watch.changed() => panic!("{change:?} without any quiet"),
        () = std::future::ready(()) => {}
    }
    assert!(watch.armed.events.is_empty(), "it was taken note of");
    assert_eq!(changed(&mut watch).await, Some(file));
}

#[tokio::test]
async fn other_paths_are_watched_after_a_reload() {
    let folder = Folder::new();
    let (old, new) = (folder.write("old.pem", ""), folder.path("new.pem"));
    let kept = folder.write("kept.pem", "");
    let mut watch = watch(&[&old, &kept]);
    watch.set_paths(&[new.clone(), kept.clone()]).unwrap();
    // It may have changed since it was read.
    assert_eq!(changed(&mut watch).await.as_ref(), Some(&new));
    folder.write("old.pem", "nobody looks");
    folder.write("new.pem", "here");
    assert_eq!(changed(&mut watch).await.as_ref(), Some(&new));
    // Nothing new: nothing is reported.
    watch.set_paths(&[kept.clone(), new]).unwrap();
    watch.set_paths(std::slice::from_ref(&kept)).unwrap();
    folder.write("new.pem", "nobody looks any more");
    folder.write("kept.pem", "next");
    assert_eq!(changed(&mut watch).await, Some(kept));
}

#[tokio::test]
async fn a_change_before_other_paths_are_set_is_not_lost() {
    let folder = Folder::new();
    let (one, two) = (folder.write("one.pem", ""), folder.write("two.pem", ""));
    let mut watch = watch(&[&one, &two]);
    folder.write("one.pem", "next");
    unread(&watch).await;
    watch.set_paths(std::slice::from_ref(&two)).unwrap();
    assert_eq!(changed(&mut watch).await, Some(one));
}

#[tokio::test]
async fn links_in_a_circle_end() {
    let folder = Folder::new();
    let (one, two) = (folder.path("one.pem"), folder.path("two.pem"));
    symlink("two.pem", &one).unwrap();
    symlink("one.pem", &two).unwrap();
    let mut watch = watch(&[&one, &folder.path("")]);
    folder.replace("two.pem", "no link any more");
    assert_eq!(changed(&mut watch).await, Some(two));
}

#[test]
fn failures_name_the_limit_or_the_directory() {
    let said = |kind| refused(Path::new("/etc/gateway"), notify::Error::new(kind)).to_string();
    let limit = said(notify::ErrorKind::MaxFilesWatch);
    assert!(limit.contains("/etc/gateway") && limit.contains("max_user_watches"));
    let other = said(notify::ErrorKind::PathNotFound);
    assert!(other.contains("/etc/gateway"), "{other}");
    let empty = Watch::new(&[PathBuf::new()]).unwrap_err();
    assert!(matches!(empty, WatchError::Path { .. }), "{empty}");
}
