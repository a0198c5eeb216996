//! Tables that are written by the service itself.
//!
//! Owns the write: a new file beside the old one, durable, with its mode, owner and access control list, put in its
//! place through a symbolic link where the path is one. Reloads wait meanwhile, so that none sees half of a change to
//! several tables. The write itself is done by the caller's thread: a share that hangs just then holds
//! it, and the reloads with it, until the share is back; what is published goes on serving.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

use rustix::fs::{CWD, RenameFlags, XattrFlags, fgetxattr, flistxattr, fsetxattr, renameat_with};
use rustix::io::Errno;

use super::cells::TableName;
use super::files::{OPTIONAL, TableError, read_table};
use super::publisher::{Publisher, RegistryError};
use super::sources::Sources;
use crate::core::Problems;
use crate::registry::Registry;
use crate::system::Stamp;
use crate::system::regular_file::{self, NotAFile};

/// Bytes of the names of extended attributes, and of the value of one, at most (xattr(7)).
const MAX_ATTRIBUTE: usize = 65_536;
/// Links that may follow one another, as the kernel has it (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// The mode of a table that is not there yet, but for the process' umask.
const NEW_MODE: u32 = 0o644;

/// Why a table can't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The folder is read-only, the disk is full, …
    #[error("{}: {source}", path.display())]
    Io {
        /// The table.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no longer as it was read.
    #[error("{}: changed meanwhile", .0.display())]
    Changed(PathBuf),
    /// Some of the tables were written, and can't be put back as they were: the log has which.
    #[error("{0}; tables that were written before it can't be put back")]
    Torn(#[source] Box<WriteError>),
}

/// The right to write the tables: reloads wait until it is dropped.
pub struct Writing<'p> {
    publisher: &'p Publisher,
    reloads_wait: MutexGuard<'p, ()>,
    /// The tables as they are on the disk.
    pub tables: Sources,
}

impl Publisher {
    /// Begins to write; waits for a reload that runs. Reads the tables, within the bounds of a reload. A table that
    /// another program is writing just now is a problem: a later try may succeed.
    pub fn begin_write(&self) -> Result<Writing<'_>, Problems> {
        let reloads_wait = self.one_at_a_time();
        let tables = self.read_to_write()?;
        Ok(Writing { publisher: self, reloads_wait, tables })
    }
}

impl Writing<'_> {
    /// What the tables would be as a registry, by the rules of a reload. `force` allows any loss of signs.
    pub fn check(&self, next: &Sources, force: bool) -> Result<Registry, RegistryError> {
        self.publisher.check(next, force)
    }

    /// Writes those of the tables that differ. After an error those that were written already are as they were, but
    /// after [`WriteError::Torn`].
    pub fn write(&mut self, next: &Sources) -> Result<(), WriteError> {
        let paths = self.publisher.files().paths();
        let changed = TableName::ALL.into_iter().zip(paths).enumerate();
        let mut staged = Vec::new();
        for (at, (table, path)) in changed.filter(|(_, (table, _))| self.tables.table(*table) != next.table(*table)) {
            let old = self.tables.table(table);
            let io = |source| WriteError::Io { path: path.to_owned(), source };
            let reading = read_table(path, at == OPTIONAL, &mut || ());
            match reading.bytes {
                Ok(bytes) if bytes == old => {}
                Ok(_) | Err(TableError::Changed) => return Err(WriteError::Changed(path.to_owned())),
                Err(TableError::Io(error)) => return Err(io(error)),
                Err(error) => return Err(io(io::Error::other(error.to_string()))),
            }
            let new = NewFile::beside(path, next.table(table)).map_err(io)?;
            staged.push((new, path, reading.stamp, old));
        }
        let mut renamed: Vec<(&Path, Option<Stamp>, &[u8])> = Vec::new();
        for (mut new, path, read, old) in staged {
            let io = |source| WriteError::Io { path: path.to_owned(), source };
            let done = match new.take_the_place_of(read.is_some().then_some(old)) {
                Ok(true) => Ok(()),
                Ok(false) => Err(WriteError::Changed(path.to_owned())),
                Err(source) => Err(io(source)),
            };
            if new.is_renamed {
                renamed.push((path, read, old));
            }
            if let Err(error) = done {
                let back = renamed.into_iter().rev().map(|(path, read, old)| put_back(path, read.is_some(), old));
                // Each is tried, whatever becomes of the others.
                let is_torn = back.filter(Result::is_err).count() > 0;
                return Err(if is_torn { WriteError::Torn(Box::new(error)) } else { error });
            }
        }
        self.tables.clone_from(next);
        Ok(())
    }

    /// Publishes what was written; the generation. That which serves, if nothing differs from it.
    pub fn publish(self, registry: Registry) -> u64 {
        let Self { publisher, reloads_wait, tables } = self;
        let generation = publisher.publish_written(registry, &tables);
        drop(tables);
        drop(reloads_wait);
        publisher.free_old();
        generation
    }
}

/// Replaces a table by bytes, as [`Writing::write`] does, without looking at what it holds. For the time
/// before there is a publisher.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let replaced = NewFile::beside(path, bytes).and_then(|mut new| new.rename());
    replaced.map_err(|source| WriteError::Io { path: path.to_owned(), source })
}

fn put_back(path: &Path, was_there: bool, old: &[u8]) -> Result<(), WriteError> {
    let done = if was_there {
        replace_file(path, old)
    } else {
        let removed = real_path(path).and_then(fs::remove_file);
        removed.map_err(|source| WriteError::Io { path: path.to_owned(), source })
    };
    done.inspect_err(|error| tracing::error!(%error, "a table that was written can't be put back as it was"))
}

/// A table's next contents on the disk, in the table's folder; removed unless renamed.
struct NewFile {
    table: PathBuf,
    path: PathBuf,
    is_renamed: bool,
}

impl NewFile {
    fn beside(table: &Path, bytes: &[u8]) -> io::Result<Self> {
        let table = real_path(table)?;
        let old = match fs::metadata(&table) {
            Ok(old) if old.is_dir() => return Err(NotAFile::Folder.into()),
            Ok(_) => Some(regular_file::open(&table)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let name = table.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut new_name = std::ffi::OsString::from(".");
        new_name.push(name);
        new_name.push(".new");
        let path = folder(&table).join(new_name);
        // One that was left behind by a process that ended; a link there would lead to another file.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mode = if old.is_some() { 0o600 } else { NEW_MODE };
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&path)?;
        let new = Self { table, path, is_renamed: false };
        file.write_all(bytes)?;
        if let Some((from, old)) = old {
            let ours = file.metadata()?;
            if (ours.uid(), ours.gid()) != (old.uid(), old.gid()) {
                // Only root may give a file away; a group of its own any process may.
                fchown(&file, Some(old.uid()), Some(old.gid())).or_else(|_| fchown(&file, None, Some(old.gid()))).ok();
            }
            // Before the mode: without the list, the mode's group has what the list gives at most to anybody.
            copy_attributes(&from, &file);
            file.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
        }
        file.sync_all()?;
        Ok(new)
    }

    fn rename(&mut self) -> io::Result<()> {
        fs::rename(&self.path, &self.table)?;
        self.is_renamed = true;
        File::open(folder(&self.table))?.sync_all()
    }

    /// Takes the place of a table that was read as `old`, or was absent; `false`, and nothing has changed, where it is
    /// no longer so. The two files change places at once, so that a save by somebody else at the last moment is in
    /// the one or the other, and seen; where the file system knows no such exchange, it is a plain rename.
    fn take_the_place_of(&mut self, old: Option<&[u8]>) -> io::Result<bool> {
        let flags = if old.is_some() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        let exchange = |new: &Path, table: &Path| renameat_with(CWD, new, CWD, table, flags);
        match exchange(&self.path, &self.table) {
            Ok(()) => {}
            Err(Errno::EXIST | Errno::NOENT) => return Ok(false),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return self.rename().map(|()| true),
            Err(error) => return Err(error.into()),
        }
        if let Some(old) = old {
            // What can't be read any more can't be judged either.
            if fs::read(&self.path).is_ok_and(|displaced| displaced != old) {
                exchange(&self.path, &self.table)?;
                return Ok(false);
            }
            fs::remove_file(&self.path)?;
        }
        self.is_renamed = true;
        File::open(folder(&self.table))?.sync_all()?;
        Ok(true)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_renamed {
            fs::remove_file(&self.path).ok();
        }
    }
}

/// Gives a file the extended attributes of another, such as its access control list (acl(5)). What the file system
/// or the process' rights do not allow stays behind; labels of security modules are the system's to give.
fn copy_attributes(from: &File, to: &File) {
    let mut names = vec![0; MAX_ATTRIBUTE];
    let Ok(length) = flistxattr(from, &mut names[..]) else { return };
    for name in names[..length].split(|&b| b == 0).filter(|name| !name.is_empty() && !name.starts_with(b"security.")) {
        let mut value = vec![0; MAX_ATTRIBUTE];
        if let Ok(length) = fgetxattr(from, name, &mut value[..]) {
            fsetxattr(to, name, &value[..length], XattrFlags::empty()).ok();
        }
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where links lead from a path, also where nothing is there yet.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(to) => path = folder(&path).join(to),
            // No link (readlink(2)), or nothing.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::last_good::LastGood;
    use super::super::publisher::Reload;
    use super::super::{CellChange, Files};
    use super::*;
    use crate::core::Tag;
    use crate::registry::{HostPattern, Rules};

    const SIGNS: &str = "code,place,status\n7K3M-9QX5,one,active\n";

    fn rules() -> Rules {
        Rules {
            default_language: Tag::from("vi").expect("short"),
            timezone: jiff::tz::TimeZone::UTC,
            allowed_hosts: vec![HostPattern::parse("example.vn").expect("a pattern")],
            allow_http: false,
            public_host: "qr.example.vn".to_owned(),
        }
    }

    fn places(n: u32) -> String {
        format!("place,name,target,note\none,Một,https://example.vn/{n},{n}\n")
    }

    /// Tables in a folder, and what publishes them.
    struct World {
        folder: tempfile::TempDir,
        files: Files,
        publisher: Arc<Publisher>,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let path = |name: &str| folder.path().join(name);
            let files =
                Files { places: path("places.csv"), signs: path("signs.csv"), overrides: path("overrides.csv") };
            fs::write(&files.places, places(0)).expect("a table");
            fs::write(&files.signs, SIGNS).expect("a table");
            let last_good = LastGood::within(folder.path());
            let publisher = Publisher::open(
                files.clone(),
                rules(),
                0.5,
                Box::new(|_, _| unreachable!("no place has a text")),
                last_good,
            )
            .expect("valid tables");
            Self { folder, files, publisher: Arc::new(publisher) }
        }

        /// Changes the target of the place and its note, writes and publishes; the generation.
        fn apply(&self, n: u32) -> u64 {
            let mut writing = self.publisher.begin_write().expect("tables");
            let next = writing.tables.edit(&changes(&writing.tables, n)).expect("they fit");
            let registry = writing.check(&next, false).expect("valid tables");
            writing.write(&next).expect("a disk");
            writing.publish(registry)
        }

        fn target(&self) -> String {
            let registry = self.publisher.current();
            let sign = registry.signs().next().expect("a sign");
            let target = sign.targets(0).iter().next().expect("a target");
            target.url.to_owned()
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.folder.path()).expect("a folder");
            let mut names: Vec<_> =
                entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
            names.sort();
            names
        }
    }

    fn changes(tables: &Sources, n: u32) -> Vec<CellChange> {
        let next = Sources { places: places(n).into_bytes(), ..tables.clone() };
        tables.difference(&next).expect("tables")
    }

    #[test]
    fn what_is_written_serves_and_no_reload_publishes_it_again() {
        let world = World::new();
        let before = world.publisher.current().generation;
        let generation = world.apply(1);
        assert!(generation > before && generation == world.publisher.current().generation);
        assert_eq!(world.target(), "https://example.vn/1");
        assert_eq!(fs::read_to_string(&world.files.places).expect("a table"), places(1));
        assert_eq!(world.publisher.reload(false).expect("valid tables"), Reload::Unchanged);
        assert_eq!(world.publisher.current().generation, generation);
        // The copy is as new, and nothing else is left in the folder.
        let (kept, sources) = LastGood::within(world.folder.path()).load().expect("a copy").expect("one");
        assert_eq!((kept.generation, sources.places), (generation, places(1).into_bytes()));
        assert_eq!(world.names(), ["places.csv", "registry-last-good", "signs.csv"]);
    }

    #[test]
    fn a_link_a_mode_and_a_left_over_file_are_as_they_should_be() {
        let world = World::new();
        let real = world.folder.path().join("elsewhere");
        fs::create_dir(&real).expect("a folder");
        fs::rename(&world.files.places, real.join("p.csv")).expect("a table");
        std::os::unix::fs::symlink("elsewhere/p.csv", &world.files.places).expect("a link");
        fs::set_permissions(&world.files.places, Permissions::from_mode(0o640)).expect("a mode");
        let precious = world.folder.path().join("precious");
        fs::write(&precious, "x").expect("a file");
        std::os::unix::fs::symlink(&precious, real.join(".p.csv.new")).expect("a link");
        world.apply(1);
        assert!(fs::symlink_metadata(&world.files.places).expect("a link").is_symlink());
        assert_eq!(fs::read_to_string(real.join("p.csv")).expect("a table"), places(1));
        assert_eq!(fs::metadata(real.join("p.csv")).expect("a table").mode() & 0o7777, 0o640);
        assert_eq!(fs::read_to_string(precious).expect("a file"), "x");
        assert_eq!(fs::read_dir(real).expect("a folder").count(), 1);
    }

    #[test]
    fn an_access_control_list_stays_and_the_group_gets_no_more_than_it_had() {
        let world = World::new();
        // acl(5): the owner and the user 1234 read and write, the group and others do nothing; the mode shows the mask.
        let entries = [(1_u16, 6_u16, u32::MAX), (2, 6, 1234), (4, 0, u32::MAX), (16, 6, u32::MAX), (32, 0, u32::MAX)];
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, who) in entries {
            list.extend([tag.to_le_bytes(), rights.to_le_bytes()].as_flattened());
            list.extend(who.to_le_bytes());
        }
        let name = "system.posix_acl_access";
        // A file system without such lists has none to keep.
        if rustix::fs::setxattr(&world.files.places, name, &list, XattrFlags::empty()).is_err() {
            return;
        }
        world.apply(1);
        let mut kept = vec![0; 1000];
        let length = rustix::fs::getxattr(&world.files.places, name, &mut kept[..]).expect("a list");
        assert_eq!(kept[..length], list);
        assert_eq!(fs::metadata(&world.files.places).expect("a table").mode() & 0o777, 0o660);
    }

    #[test]
    fn a_change_by_hand_is_neither_lost_nor_left_unpublished() {
        let world = World::new();
        let mut writing = world.publisher.begin_write().expect("tables");
        let next = writing.tables.edit(&changes(&writing.tables, 1)).expect("they fit");
        fs::write(&world.files.places, places(2)).expect("a table");
        assert!(matches!(writing.write(&next), Err(WriteError::Changed(path)) if path == world.files.places));
        drop(writing);
        assert_eq!(fs::read_to_string(&world.files.places).expect("a table"), places(2));
        // It is read here, and no set is applied.
        drop(world.publisher.begin_write().expect("tables"));
        assert_eq!(world.target(), "https://example.vn/0");
        assert!(
            world
                .publisher
                .tables()
                .iter()
                .all(|table| table.state() != super::super::table_thread::TableState::Unchanged)
        );
        assert_eq!(world.publisher.reload(false).expect("valid tables"), Reload::Published);
        assert_eq!(world.target(), "https://example.vn/2");
    }

    #[test]
    fn a_save_at_the_last_moment_is_put_back_and_seen() {
        let world = World::new();
        let old = places(0);
        for (saved, taken) in [(old.as_str(), true), ("saved by hand", false)] {
            fs::write(&world.files.places, &old).expect("a table");
            let mut new = NewFile::beside(&world.files.places, b"ours").expect("a disk");
            // After the last look, and before the two files change places.
            fs::write(&world.files.places, saved).expect("a table");
            assert_eq!(new.take_the_place_of(Some(old.as_bytes())).expect("a disk"), taken, "{saved}");
            drop(new);
            let expected = if taken { "ours" } else { saved };
            assert_eq!(fs::read_to_string(&world.files.places).expect("a table"), expected);
        }
        // One that somebody makes while it is being made.
        let mut new = NewFile::beside(&world.files.overrides, b"ours").expect("a disk");
        fs::write(&world.files.overrides, "made by hand").expect("a table");
        assert!(!new.take_the_place_of(None).expect("a disk"));
        drop(new);
        assert_eq!(fs::read_to_string(&world.files.overrides).expect("a table"), "made by hand");
        assert!(!world.names().contains(&".overrides.csv.new".to_owned()), "{:?}", world.names());
    }

    #[test]
    fn a_table_that_cannot_be_written_leaves_the_others_as_they_were() {
        let world = World::new();
        let mut writing = world.publisher.begin_write().expect("tables");
        // The table of overrides would be a file in a folder that is none.
        std::os::unix::fs::symlink("signs.csv/overrides.csv", &world.files.overrides).expect("a link");
        let overrides = b"scope,from,until,target\n".to_vec();
        let next = Sources { places: places(1).into_bytes(), overrides, ..writing.tables.clone() };
        assert!(matches!(writing.write(&next), Err(WriteError::Io { path, .. }) if path == world.files.overrides));
        assert_eq!(fs::read_to_string(&world.files.places).expect("a table"), places(0));
        assert_eq!(world.names(), ["overrides.csv", "places.csv", "signs.csv"]);
    }

    #[test]
    fn a_table_is_put_back_and_one_that_was_not_there_is_gone_again() {
        let world = World::new();
        world.apply(1);
        put_back(&world.files.places, true, places(0).as_bytes()).expect("a disk");
        assert_eq!(fs::read_to_string(&world.files.places).expect("a table"), places(0));
        replace_file(&world.files.overrides, b"x").expect("a disk");
        put_back(&world.files.overrides, false, b"").expect("a disk");
        assert!(!world.files.overrides.exists());
        assert!(put_back(&world.files.overrides, false, b"").is_err(), "and one that can't be is told");
    }

    #[test]
    fn rules_and_the_loss_of_signs_are_those_of_a_reload() {
        let world = World::new();
        let writing = world.publisher.begin_write().expect("tables");
        let with = |signs: &str| Sources { signs: signs.as_bytes().to_vec(), ..writing.tables.clone() };
        let bad = writing.check(&with("code,place,status\nA1,two,active\n"), true).expect_err("no such place");
        assert!(bad.to_string().starts_with("signs.csv:2: place: expected"), "{bad}");
        let empty = with("code,place,status\n");
        assert!(matches!(writing.check(&empty, false), Err(RegistryError::Shrunk { .. })));
        assert!(writing.check(&empty, true).is_ok());
    }

    #[test]
    fn a_file_is_replaced_without_a_publisher_and_made_where_none_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let (link, real) = (folder.path().join("overrides.csv"), folder.path().join("real.csv"));
        std::os::unix::fs::symlink("real.csv", &link).expect("a link");
        for text in ["one", "two"] {
            replace_file(&link, text.as_bytes()).expect("a disk");
            assert_eq!(fs::read_to_string(&real).expect("a file"), text);
        }
        std::os::unix::fs::symlink("loop", folder.path().join("loop")).expect("a link");
        assert!(replace_file(&folder.path().join("loop"), b"x").is_err());
        assert!(replace_file(folder.path(), b"x").is_err());
    }

    /// Two tables are renamed one after the other, while the watcher looks whenever the folder changes: each
    /// generation that it publishes has both of a change, or none.
    #[test]
    fn a_reload_never_sees_half_of_a_change_to_two_tables() {
        let world = World::new();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let watch = super::super::watch(world.publisher.clone(), Duration::from_millis(100));
        let watching = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! { () = watch => {}, _ = stopped => {} }
            });
        });
        let publisher = world.publisher.clone();
        let reloading = std::thread::spawn(move || (0..50).for_each(|_| drop(publisher.reload(false))));
        let mut generations = Vec::new();
        for n in 1..=20 {
            let mut writing = world.publisher.begin_write().expect("tables");
            // A place of another name, and its sign: half of it is no valid registry.
            let places = format!("place,name,target\np{n},Một,https://example.vn/{n}\n").into_bytes();
            let signs = format!("code,place,status\n7K3M-9QX5,p{n},active\n").into_bytes();
            let next = Sources { places, signs, ..writing.tables.clone() };
            let registry = writing.check(&next, false).expect("valid tables");
            writing.write(&next).expect("a disk");
            generations.push(writing.publish(registry));
        }
        reloading.join().expect("it ends");
        assert_eq!(world.publisher.reload(false).expect("valid tables"), Reload::Unchanged);
        let state = world.publisher.state();
        assert_eq!((state.refused, world.publisher.current().generation), (0, generations[19]), "{:?}", state.problems);
        assert!(generations.is_sorted());
        drop(stop);
        watching.join().expect("it ends");
    }
}
