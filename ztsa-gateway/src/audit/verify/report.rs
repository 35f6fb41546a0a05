//! What a check of the log found.

use std::fmt;
use std::path::PathBuf;

/// Says what was read, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files.
    pub files: usize,
    /// Lines whose hash is right.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// The number of the first line.
    pub first: Option<u64>,
    /// The number of the last line.
    pub last: Option<u64>,
    /// Checkpoints whose place is right, and whose signature is where a key was given.
    pub checkpoints: u64,
    /// The last line that a checkpoint vouches for.
    pub signed_to: Option<u64>,
    /// Lines by which the log itself tells of a loss.
    pub losses: u64,
    /// What is wrong, the first thousand.
    pub findings: Vec<Finding>,
    /// How many things are wrong.
    pub faults: u64,
}

/// Says what is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 is the end of the file.
    pub line: u64,
    /// The number that the line gives itself.
    pub sequence: Option<u64>,
    /// What is wrong.
    pub fault: Fault,
}

/// Says what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The line's content does not match its hash.
    Changed,
    /// The line is no event of this log.
    Foreign,
    /// The last line has no end.
    Cut,
    /// Lines are missing.
    Gap {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// The line was there before, or belongs further up.
    Again {
        /// The number before it.
        after: u64,
    },
    /// The number follows, the hash of the line before does not.
    Unlinked,
    /// The line is of another chain: of another log, or of one that was begun anew.
    OtherChain,
    /// A checkpoint does not count.
    Signature(String),
    /// The line that the given checkpoint vouches for is not there, or is another one now.
    CheckpointMissing(u64),
    /// Lines stood in the log at a start of the gateway, and nothing shows that it wrote them.
    Unvouched {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// The gateway found another file than it had written when it started.
    Replaced,
    /// A key was given, and no checkpoint vouches for anything.
    Unsigned,
    /// There is not one line.
    Empty,
    /// The given checkpoint is older than the files.
    CheckpointBefore(u64),
}

impl Report {
    /// Says whether all is as the gateway wrote it.
    pub fn is_whole(&self) -> bool {
        self.faults == 0
    }
}

impl Fault {
    /// Names it in one word, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Foreign => "foreign",
            Self::Cut => "cut",
            Self::Gap { .. } => "gap",
            Self::Again { .. } => "again",
            Self::Unlinked => "unlinked",
            Self::OtherChain => "other_chain",
            Self::Signature(_) => "signature",
            Self::Unvouched { .. } => "unvouched",
            Self::Replaced => "replaced",
            Self::Unsigned => "unsigned",
            Self::Empty => "empty",
            Self::CheckpointMissing(_) => "checkpoint_missing",
            Self::CheckpointBefore(_) => "checkpoint_before",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if let Some(sequence) = self.sequence {
            write!(f, " (sequence {sequence})")?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("the line was changed: its content does not match its hash"),
            Self::Foreign => f.write_str("the line is no event of this log, or its end was changed"),
            Self::Cut => f.write_str("the last line has no end"),
            Self::Gap { from, to } if from == to => write!(f, "line {from} is missing here"),
            Self::Gap { from, to } => write!(f, "lines {from} to {to} are missing here"),
            Self::Again { after } => write!(f, "the line stands after line {after}: it is there twice, or was moved"),
            Self::Unlinked => {
                f.write_str("the hash of the line before is not what this line says: that one was replaced")
            }
            Self::OtherChain => {
                f.write_str("the line is of another chain: of another log, or of one that was begun anew")
            }
            Self::Signature(cause) => write!(f, "the checkpoint does not count: {cause}"),
            Self::Unvouched { from, to } => write!(
                f,
                "lines {from} to {to} stood in the log when the gateway started, and nothing shows that it wrote them: \
                 checkpoints vouch for them only since then"
            ),
            Self::Replaced => f.write_str(
                "when the gateway started, the log was not the one that it had written: the line says where that is kept",
            ),
            Self::Unsigned => f.write_str(
                "no checkpoint of this key vouches for any of the lines. A gateway signs after some events or minutes, \
                 when it begins a new file, and when it ends: a log without any is a very young one, or not the gateway's",
            ),
            Self::Empty => f.write_str("there is not one line of a log: give the file that holds it, and older ones"),
            Self::CheckpointMissing(sequence) => {
                write!(f, "line {sequence}, which the given checkpoint vouches for, is not there or is another one")
            }
            Self::CheckpointBefore(sequence) => {
                write!(f, "the given checkpoint is about line {sequence}, before the files begin: give older files too")
            }
        }
    }
}
