//! Segments on this machine's disk: appended to, cut, and found again by whoever starts next.
//!
//! Each process has a folder of its own below the root, and holds a lock on it as long as it lives; the system frees it,
//! whatever the process dies of. A folder whose lock is free is a dead process's: the first that takes the lock ships what
//! is left in it. A segment is written as `N.open`, and renamed to `N.segment` when nothing more is appended to it.
//!
//! What was appended survives the death of the process at once; that of the machine once it is synced, a second later at
//! most.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tidemill_blobs::private_folder;
use tidemill_core::WorkerId;

const LOCK: &str = "lock";
/// The ending of a file that is appended to.
const OPEN: &str = "open";
/// The ending of a file that is ready to be shipped.
pub(super) const SEGMENT: &str = "segment";

/// How much is kept, and for how long at most before it goes on.
#[derive(Clone, Copy, Debug)]
pub struct SpoolLimits {
    /// Most bytes that wait on disk; beyond them new rows are dropped.
    pub budget_bytes: u64,
    /// A segment of this size is cut.
    pub cut_bytes: u64,
    /// One of this age is, too.
    pub cut_after: Duration,
    /// What was written is synced within this time.
    pub sync_after: Duration,
}

impl Default for SpoolLimits {
    /// 512 MiB; segments of 8 MiB or 5 s, synced each second.
    fn default() -> Self {
        Self {
            budget_bytes: 512 << 20,
            cut_bytes: 8 << 20,
            cut_after: Duration::from_secs(5),
            sync_after: Duration::from_secs(1),
        }
    }
}

/// Why rows were not appended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{} MiB wait to be shipped, which is all that may", .budget_bytes >> 20)]
    Full { budget_bytes: u64 },
    #[error("{}: {source}", .path.display())]
    Disk { path: PathBuf, source: io::Error },
}

/// A folder whose lock is held.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    _lock: File,
}

/// Where rows are appended.
#[derive(Debug)]
pub(super) struct Spool {
    folder: Arc<Folder>,
    limits: SpoolLimits,
    /// Bytes on disk, of this process and of those that it ships for.
    used: Arc<AtomicU64>,
    open: Option<Segment>,
    next: u64,
    /// The size of the last frame that the budget had no room for.
    refused_bytes: u64,
}

/// A segment that is appended to.
#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    bytes: u64,
    begun: Instant,
    /// When the oldest byte that is not synced was written.
    unsynced: Option<Instant>,
}

impl Folder {
    /// A new one below `root`.
    pub(super) fn create(root: &Path) -> anyhow::Result<Self> {
        private_folder(root)?;
        let name = WorkerId::generate().to_string();
        // Found by nobody before its lock is held.
        let hidden = root.join(format!(".{name}"));
        private_folder(&hidden)?;
        let lock = File::create(hidden.join(LOCK))?;
        lock.lock()?;
        let path = root.join(name);
        fs::rename(hidden, &path)?;
        Ok(Self { path, _lock: lock })
    }

    /// One that is there, unless its process lives.
    fn take(path: PathBuf) -> io::Result<Option<Self>> {
        let lock = match OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK)) {
            Ok(lock) => lock,
            // Somebody else has shipped what was in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { path, _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Those below `root` whose processes are dead, each with what it left ready to be shipped.
    pub(super) fn left_behind(root: &Path) -> io::Result<Vec<Self>> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if hidden || !entry.file_type()?.is_dir() {
                continue;
            }
            let Some(folder) = Self::take(entry.path())? else { continue };
            for path in folder.files(OPEN)? {
                fs::rename(&path, path.with_extension(SEGMENT))?;
            }
            folders.push(folder);
        }
        Ok(folders)
    }

    /// Segments that are ready, oldest first.
    pub(super) fn segments(&self) -> io::Result<Vec<PathBuf>> {
        self.files(SEGMENT)
    }

    fn files(&self, ending: &str) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if path.extension().is_some_and(|found| found == ending) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// The size of what is ready. What else lies there is never shipped, and takes no budget.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        self.segments()?.iter().map(|path| Ok(fs::metadata(path)?.len())).sum()
    }

    /// Removes it if nothing is left in it but the lock.
    pub(super) fn remove_empty(self) -> io::Result<()> {
        if fs::read_dir(&self.path)?.count() > 1 {
            return Ok(());
        }
        fs::remove_file(self.path.join(LOCK))?;
        fs::remove_dir(&self.path)
    }
}

impl Spool {
    /// Appends to files in `folder`.
    pub(super) fn new(folder: Arc<Folder>, limits: SpoolLimits, used: Arc<AtomicU64>) -> Self {
        Self { folder, limits, used, open: None, next: 0, refused_bytes: 0 }
    }

    /// Appends a frame, whole or not at all; true if a segment was cut by it.
    pub(super) fn append(&mut self, frame: &[u8]) -> Result<bool, Refusal> {
        let budget_bytes = self.limits.budget_bytes;
        if self.used.load(Ordering::Relaxed) + frame.len() as u64 > budget_bytes {
            self.refused_bytes = frame.len() as u64;
            return Err(Refusal::Full { budget_bytes });
        }
        if self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        let Some(segment) = &mut self.open else { return Ok(false) };
        if let Err(source) = segment.file.write_all(frame) {
            let path = segment.path.clone();
            // Half a frame may be there. Nothing may follow it: a reader stops there.
            self.cut();
            return Err(Refusal::Disk { path, source });
        }
        segment.bytes += frame.len() as u64;
        segment.unsynced.get_or_insert_with(Instant::now);
        let full = segment.bytes >= self.limits.cut_bytes;
        self.used.fetch_add(frame.len() as u64, Ordering::Relaxed);
        if full {
            self.cut();
        }
        Ok(full)
    }

    /// Whether a frame like the last that was refused would be taken now.
    pub(super) fn has_room(&self) -> bool {
        self.used.load(Ordering::Relaxed) + self.refused_bytes <= self.limits.budget_bytes
    }

    /// Syncs and cuts what is due; true if a segment was cut.
    pub(super) fn tend(&mut self) -> bool {
        let Some(segment) = &mut self.open else { return false };
        if segment.begun.elapsed() >= self.limits.cut_after {
            self.cut();
            return true;
        }
        if segment.unsynced.is_some_and(|since| since.elapsed() >= self.limits.sync_after) {
            segment.sync();
        }
        false
    }

    /// Ends the open segment: it is ready to be shipped.
    pub(super) fn cut(&mut self) {
        let Some(mut segment) = self.open.take() else { return };
        segment.sync();
        let ready = segment.path.with_extension(SEGMENT);
        let renamed = fs::rename(&segment.path, ready);
        if let Err(error) = renamed.and_then(|()| File::open(&self.folder.path)?.sync_all()) {
            // It stays, and is shipped by whoever takes the folder over.
            warn(&segment.path, &error);
        }
    }

    fn begin(&mut self) -> Result<Segment, Refusal> {
        let path = self.folder.path.join(format!("{:08}.{OPEN}", self.next));
        self.next += 1;
        match OpenOptions::new().create_new(true).append(true).open(&path) {
            Ok(file) => Ok(Segment { path, file, bytes: 0, begun: Instant::now(), unsynced: None }),
            Err(source) => Err(Refusal::Disk { path, source }),
        }
    }
}

impl Segment {
    fn sync(&mut self) {
        self.unsynced = None;
        if let Err(error) = self.file.sync_data() {
            warn(&self.path, &error);
        }
    }
}

fn warn(path: &Path, error: &io::Error) {
    tracing::warn!(
        path = %path.display(),
        error = error as &dyn std::error::Error,
        "a segment of the prediction log could not be synced"
    );
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        process::{Command, Stdio},
    };

    use super::{
        super::segment::{decode, encode, tests::some},
        *,
    };

    /// The folder that a child of this test writes to; it is not set otherwise.
    const ROOT: &str = "TIDEMILL_TEST_SPOOL";

    fn spool(root: &Path, limits: SpoolLimits) -> Spool {
        let folder = Arc::new(Folder::create(root).unwrap());
        Spool::new(folder, limits, Arc::default())
    }

    fn rows(folder: &Folder) -> Vec<i64> {
        use arrow::array::AsArray as _;
        let mut rows = Vec::new();
        for path in folder.segments().unwrap() {
            for frame in decode(&fs::read(path).unwrap()).unwrap().frames {
                rows.extend(frame.rows["seq"].as_primitive::<arrow::datatypes::Int64Type>().values().iter());
            }
        }
        rows
    }

    /// Not a test of its own: what [`what_a_killed_process_appended_is_there_exactly_once`] starts and kills.
    #[test]
    fn child() {
        let Some(root) = std::env::var_os(ROOT) else { return };
        let limits = SpoolLimits { cut_bytes: 20_000, ..SpoolLimits::default() };
        let mut spool = spool(Path::new(&root), limits);
        for number in 0.. {
            spool.append(&encode(&some("late", &[number])).unwrap()).unwrap();
            // Said after it is appended, as a reply is sent after its record is taken.
            println!("appended {number}");
        }
    }

    #[test]
    fn what_a_killed_process_appended_is_there_exactly_once() {
        for kill_after in [0, 1, 7, 40, 150] {
            let root = tempfile::tempdir().unwrap();
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "prediction_log::spool::tests::child", "--nocapture"])
                .env(ROOT, root.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut said =
                |line: io::Result<String>| Some(line.ok()?.strip_prefix("appended ")?.parse().unwrap());
            let mut last: i64 = -1;
            while last < kill_after {
                last = lines.by_ref().find_map(&mut said).unwrap();
            }
            assert!(Folder::left_behind(root.path()).unwrap().is_empty(), "its process lives");
            child.kill().unwrap();
            child.wait().unwrap();
            last = lines.filter_map(said).last().unwrap_or(last);

            let left = Folder::left_behind(root.path()).unwrap();
            let rows = rows(&left[0]);
            assert_eq!(rows, (0..i64::try_from(rows.len()).unwrap()).collect::<Vec<_>>());
            // One more at most: appended, not said any more.
            let more = i64::try_from(rows.len()).unwrap() - (last + 1);
            assert!((0..=1).contains(&more), "{} rows, {last} was said", rows.len());
        }
    }

    #[test]
    fn beyond_the_budget_the_newest_is_refused_and_the_oldest_kept() {
        let root = tempfile::tempdir().unwrap();
        let frame = encode(&some("late", &[1])).unwrap();
        let limits = SpoolLimits { budget_bytes: 2 * frame.len() as u64, ..SpoolLimits::default() };
        let mut spool = spool(root.path(), limits);
        for number in [1, 2] {
            spool.append(&encode(&some("late", &[number])).unwrap()).unwrap();
        }
        let refused = spool.append(&encode(&some("late", &[3])).unwrap()).unwrap_err();
        assert!(matches!(refused, Refusal::Full { .. }), "{refused}");
        assert!(!spool.has_room());
        spool.used.fetch_sub(frame.len() as u64, Ordering::Relaxed);
        assert!(spool.has_room());
        spool.cut();
        assert_eq!(rows(&spool.folder), [1, 2]);
    }

    #[test]
    fn a_segment_is_cut_by_its_size_and_by_its_age() {
        let root = tempfile::tempdir().unwrap();
        let frame = encode(&some("late", &[1])).unwrap();
        let mut limits = SpoolLimits { cut_bytes: 2 * frame.len() as u64, ..SpoolLimits::default() };
        let mut by_size = spool(root.path(), limits);
        assert_eq!([(); 3].map(|()| by_size.append(&frame).unwrap()), [false, true, false]);
        assert!(!by_size.tend());
        limits.cut_after = Duration::ZERO;
        let mut by_age = spool(root.path(), limits);
        by_age.append(&frame).unwrap();
        assert!(by_age.tend());
        assert_eq!(by_age.folder.segments().unwrap().len(), 1);
    }

    #[test]
    fn a_disk_that_refuses_costs_the_frame_and_nothing_before_it() {
        let root = tempfile::tempdir().unwrap();
        let mut spool = spool(root.path(), SpoolLimits::default());
        spool.append(&encode(&some("late", &[1])).unwrap()).unwrap();
        // A file that takes no more, as on a full disk.
        spool.open.as_mut().unwrap().file = File::options().write(true).open("/dev/full").unwrap();
        let refused = spool.append(&encode(&some("late", &[2])).unwrap()).unwrap_err();
        assert!(refused.to_string().contains("No space left"), "{refused}");
        spool.append(&encode(&some("late", &[3])).unwrap()).unwrap();
        spool.cut();
        assert_eq!(rows(&spool.folder), [1, 3]);
    }
}
