//! MariaDB's and MySQL's packets, as far as needed: which statement is executed, and where its answer ends.
//!
//! A command is a packet with sequence number 0 and is answered before the next one is sent, so there is one answer at
//! a time.

use std::collections::HashMap;

use super::session::{Answer, Frames, Strange};
use super::swallow::Swallow;

const QUERY: u8 = 0x03;
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
const SEND_LONG_DATA: u8 = 0x18;
const CLOSE: u8 = 0x19;

const OK: u8 = 0x00;
const ERROR: u8 = 0xff;
const EOF: u8 = 0xfe;

/// Of the client's capabilities: it goes on encrypted.
const TLS: u32 = 1 << 11;
/// Of the client's capabilities: the end of rows is an OK packet, and there is none between columns and rows.
const DEPRECATE_EOF: u32 = 1 << 24;
/// Of the server's status: another result follows.
const MORE_RESULTS: u16 = 8;

/// A packet of this size goes on in the next one.
const PAYLOAD_MAX: usize = 0xff_ffff;

#[derive(Default)]
pub(super) struct MySql {
    client: Frames,
    server: Frames,
    /// The client has told what it is able to do.
    greeted: bool,
    capabilities: u32,
    /// The text of each prepared statement, by its number.
    statements: HashMap<u32, String>,
    awaited: Option<Awaited>,
}

/// The answer to come.
struct Awaited {
    /// The statement that gets its number with it.
    prepared: Option<String>,
    swallow: bool,
    part: Part,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    First,
    Columns,
    Rows,
}

impl MySql {
    pub(super) fn client_says(
        &mut self,
        mut bytes: &[u8],
        swallow: &Swallow,
    ) -> Result<(), Strange> {
        while !bytes.is_empty() {
            let (taken, complete) = self.client.take(bytes, 4, packet_length)?;
            bytes = &bytes[taken..];
            if complete {
                let packet = self.client.finish();
                match self.greeted {
                    false => self.greet(&packet)?,
                    // What has another number continues something: a login, or a long packet.
                    true if packet[3] == 0 => self.command(&packet[4..], swallow),
                    true => {}
                }
            }
        }
        Ok(())
    }

    pub(super) fn server_says(&mut self, bytes: &[u8]) -> Result<Answer, Strange> {
        let mut at = 0;
        let mut pass = 0;
        while at < bytes.len() {
            let (taken, complete) = self.server.take(&bytes[at..], 4, packet_length)?;
            at += taken;
            let swallowing = self.awaited.as_ref().is_some_and(|awaited| awaited.swallow);
            if !swallowing {
                pass = at;
            }
            if complete {
                let packet = self.server.finish();
                if self.ends_answer(&packet) && swallowing {
                    return Ok(Answer {
                        pass,
                        swallowed: true,
                    });
                }
            }
        }
        Ok(Answer {
            pass,
            swallowed: false,
        })
    }

    fn greet(&mut self, packet: &[u8]) -> Result<(), Strange> {
        let capabilities = packet.get(4..8).ok_or(Strange)?;
        self.capabilities = u32::from_le_bytes(capabilities.try_into().expect("four bytes"));
        self.greeted = true;
        match self.capabilities & TLS {
            0 => Ok(()),
            _ => Err(Strange),
        }
    }

    fn command(&mut self, payload: &[u8], swallow: &Swallow) {
        let Some((&command, rest)) = payload.split_first() else {
            return;
        };
        let text = || String::from_utf8_lossy(rest).into_owned();
        let (mut prepared, mut swallowing) = (None, false);
        match command {
            QUERY => swallowing = swallow.takes(&text()),
            PREPARE => prepared = Some(text()),
            EXECUTE => {
                let text = number(rest).and_then(|id| self.statements.get(&id));
                swallowing = text.is_some_and(|text| swallow.takes(text));
            }
            CLOSE => {
                number(rest).map(|id| self.statements.remove(&id));
                return; // not answered
            }
            SEND_LONG_DATA => return,
            _ => {}
        }
        self.awaited = Some(Awaited {
            prepared,
            swallow: swallowing,
            part: Part::First,
        });
    }

    /// Whether this packet is the last of the answer that is awaited.
    fn ends_answer(&mut self, packet: &[u8]) -> bool {
        let deprecates_eof = self.capabilities & DEPRECATE_EOF != 0;
        let Some(awaited) = &mut self.awaited else {
            return false;
        };
        let payload = &packet[4..];
        let kind = payload.first().copied().unwrap_or(OK);
        let rest = payload.get(1..).unwrap_or_default();
        let length = packet_length(&packet[..4]).unwrap_or(4) - 4;
        if let Some(text) = awaited.prepared.take() {
            if let (OK, Some(id)) = (kind, number(rest)) {
                self.statements.insert(id, text);
            }
            // The columns that follow are nobody's concern: an answer to PREPARE is never swallowed.
            self.awaited = None;
            return false;
        }
        let status = match (awaited.part, kind) {
            (_, ERROR) => 0,
            (Part::First, OK) => ok_status(rest),
            (Part::First, _) => {
                awaited.part = if deprecates_eof {
                    Part::Rows
                } else {
                    Part::Columns
                };
                return false;
            }
            (Part::Columns, EOF) if length < 9 => {
                awaited.part = Part::Rows;
                return false;
            }
            (Part::Rows, EOF) if deprecates_eof && length < PAYLOAD_MAX => ok_status(rest),
            (Part::Rows, EOF) if length < 9 => eof_status(rest),
            (Part::Columns | Part::Rows, _) => return false,
        };
        if status & MORE_RESULTS != 0 {
            awaited.part = Part::First;
            return false;
        }
        self.awaited = None;
        true
    }
}

/// Three bytes of length, then the sequence number.
fn packet_length(header: &[u8]) -> Result<usize, Strange> {
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
    Ok(length as usize + 4)
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?))
}

/// After two numbers of variable length: how many rows were changed, and the last id.
fn ok_status(rest: &[u8]) -> u16 {
    let after_number = |rest: &[u8]| match rest.first() {
        Some(0xfc) => 3,
        Some(0xfd) => 4,
        Some(0xfe) => 9,
        _ => 1,
    };
    let first = after_number(rest);
    let second = first + after_number(rest.get(first..).unwrap_or_default());
    status(rest, second)
}

/// After the count of warnings.
fn eof_status(rest: &[u8]) -> u16 {
    status(rest, 2)
}

fn status(rest: &[u8], at: usize) -> u16 {
    rest.get(at..at + 2)
        .map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        [&length[..3], &[sequence], payload].concat()
    }

    fn greeted(capabilities: u32) -> MySql {
        let mut mysql = MySql::default();
        let hello = packet(0, b"\x0a11.4\0");
        assert_eq!(mysql.server_says(&hello).unwrap(), Answer::all(&hello));
        let login = packet(1, &[&capabilities.to_le_bytes()[..], &[0; 28]].concat());
        mysql.client_says(&login, &Swallow::default()).unwrap();
        let welcome = packet(2, &[OK, 0, 0, 2, 0, 0, 0]);
        assert_eq!(mysql.server_says(&welcome).unwrap(), Answer::all(&welcome));
        mysql
    }

    fn heard(mysql: &mut MySql, bytes: &[u8], size: usize) -> (usize, bool) {
        let mut passed = 0;
        for piece in bytes.chunks(size) {
            let answer = mysql.server_says(piece).unwrap();
            passed += answer.pass;
            if answer.swallowed {
                return (passed, true);
            }
        }
        (passed, false)
    }

    #[test]
    fn only_the_answer_to_the_commit_is_lost_however_the_bytes_are_cut() {
        for size in 1..20 {
            let swallow = Swallow::default();
            swallow.add_commits(1);
            let mut mysql = greeted(0);
            let ok = packet(1, &[OK, 0, 0, 2, 0, 0, 0]);
            for (text, expected) in [("begin", (ok.len(), false)), ("COMMIT", (0, true))] {
                let asked = packet(0, &[&[QUERY], text.as_bytes()].concat());
                for piece in asked.chunks(size) {
                    mysql.client_says(piece, &swallow).unwrap();
                }
                assert_eq!(heard(&mut mysql, &ok, size), expected, "{text} in {size}");
            }
        }
    }

    #[test]
    fn rows_are_swallowed_to_their_last_packet_with_and_without_eof_packets() {
        let column = packet(2, b"\x03def\0\0\0");
        let row = packet(4, b"\x011");
        let eof = packet(3, &[EOF, 0, 0, 2, 0]);
        let last = packet(5, &[EOF, 0, 0, 2, 0, 0, 0]);
        let count = packet(1, &[1]);
        for (capabilities, answer) in [
            (0, [&count[..], &column, &eof, &row, &eof].concat()),
            (DEPRECATE_EOF, [&count[..], &column, &row, &last].concat()),
        ] {
            let swallow = Swallow::default();
            swallow.add_text("into t");
            let mut mysql = greeted(capabilities);
            let prepare = packet(0, &[&[PREPARE], &b"insert into t returning a"[..]].concat());
            mysql.client_says(&prepare, &swallow).unwrap();
            let prepared = packet(1, &[OK, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(heard(&mut mysql, &prepared, 5), (prepared.len(), false));
            let execute = packet(0, &[EXECUTE, 7, 0, 0, 0, 0, 1, 0, 0, 0]);
            mysql.client_says(&execute, &swallow).unwrap();
            let cut = answer.len() - 1;
            assert_eq!(heard(&mut mysql, &answer[..cut], 6), (0, false));
            assert_eq!(heard(&mut mysql, &answer[cut..], 1), (0, true));
        }
    }

    #[test]
    fn results_that_follow_belong_to_the_same_answer() {
        let swallow = Swallow::default();
        swallow.add_text("two");
        let mut mysql = greeted(0);
        let asked = packet(0, &[&[QUERY], &b"two; statements"[..]].concat());
        mysql.client_says(&asked, &swallow).unwrap();
        let more = packet(1, &[OK, 0xfc, 1, 1, 0, 8, 0, 0, 0]);
        assert_eq!(heard(&mut mysql, &more, 100), (0, false));
        let last = packet(2, &[OK, 0, 0, 2, 0, 0, 0]);
        assert_eq!(heard(&mut mysql, &last, 100), (0, true));
    }
}
