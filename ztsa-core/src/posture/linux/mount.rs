//! /proc/self/mountinfo and /proc/swaps (proc(5)).

/// The longest table of mounts that is read, in bytes.
pub(super) const LARGEST: u64 = 4 * 1024 * 1024;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) point: String,
    pub(super) kind: String,
    pub(super) source: String,
}

/// One swap area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Swap {
    pub(super) path: String,
    pub(super) is_file: bool,
}

/// Reads the mount table; lines that are none are left out.
pub(super) fn mounts(text: &str) -> Vec<Mount> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(2);
    let (major, minor) = before.next()?.split_once(':')?;
    let point = before.nth(1)?;
    let mut after = after.split(' ');
    Some(Mount {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        point: unescape(point),
        kind: after.next()?.to_owned(),
        source: unescape(after.next()?),
    })
}

/// The mount that a path is on: the longest mount point above it, and of those on top of each other the last.
pub(super) fn of<'m>(mounts: &'m [Mount], path: &str) -> Option<&'m Mount> {
    let above = |mount: &&Mount| {
        let point = mount.point.trim_end_matches('/');
        path.strip_prefix(point).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    mounts.iter().filter(above).max_by_key(|mount| mount.point.trim_end_matches('/').len())
}

/// What is mounted at exactly this place, the last one on top.
pub(super) fn at<'m>(mounts: &'m [Mount], point: &str) -> Option<&'m Mount> {
    mounts.iter().rfind(|mount| mount.point == point)
}

/// Reads the swap areas; `None` when the text is not such a table.
pub(super) fn swaps(text: &str) -> Option<Vec<Swap>> {
    let mut lines = text.lines();
    lines.next().filter(|head| head.starts_with("Filename"))?;
    let area = |line: &str| {
        let mut fields = line.split_whitespace();
        let path = unescape(fields.next()?);
        Some(Swap { path, is_file: fields.next()? == "file" })
    };
    lines.filter(|line| !line.trim().is_empty()).map(area).collect()
}

/// The kernel writes blanks, tabs, line ends and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|_| byte == b'\\').and_then(octal);
        plain.push(code.unwrap_or(byte));
        rest = if code.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    u8::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &str = "\
22 1 253:1 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw
23 22 0:20 / /proc rw - proc proc rw
24 22 253:2 / /home rw,relatime shared:2 master:3 - xfs /dev/mapper/vg-home rw
25 22 8:1 / /mnt/usb\\040stick rw - vfat /dev/sdb1 rw
26 24 0:50 / /home rw - overlay overlay rw
broken line
";

    #[test]
    fn the_mount_of_a_path_is_the_nearest_and_topmost() {
        let table = mounts(TABLE);
        assert_eq!(table.len(), 5);
        for (path, source) in [
            ("/", "/dev/mapper/vg-root"),
            ("/etc/passwd", "/dev/mapper/vg-root"),
            ("/homestead", "/dev/mapper/vg-root"),
            ("/home", "overlay"),
            ("/home/alice", "overlay"),
            ("/mnt/usb stick/a", "/dev/sdb1"),
        ] {
            assert_eq!(of(&table, path).unwrap().source, source, "{path}");
        }
        assert!(of(&[], "/").is_none());
    }

    #[test]
    fn swap_areas_are_read() {
        let text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/dm-1                               partition\t998396\t\t0\t\t-2\n/swap\\040file file 1 0 -3\n";
        let areas = swaps(text).unwrap();
        assert_eq!(
            areas,
            [Swap { path: "/dev/dm-1".into(), is_file: false }, Swap { path: "/swap file".into(), is_file: true }]
        );
        assert_eq!(swaps("Filename\tType\n").unwrap(), []);
        assert_eq!(swaps(""), None);
    }

    proptest! {
        #[test]
        fn no_table_is_too_much(text in "\\PC{0,200}") {
            let _ = (mounts(&text), swaps(&text));
        }

        #[test]
        fn mount_points_come_back(point in "/[a-z \\\\]{0,12}") {
            let escaped: String = point.chars().map(|c| match c {
                ' ' => "\\040".to_owned(),
                '\\' => "\\134".to_owned(),
                other => other.to_string(),
            }).collect();
            let table = mounts(&format!("1 1 8:1 / {escaped} rw - ext4 /dev/sda rw"));
            prop_assert_eq!(&table[0].point, &point);
        }
    }
}
