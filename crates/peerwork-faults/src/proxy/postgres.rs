//! PostgreSQL's messages, as far as needed: which statement is executed, and where its answer ends.
//!
//! Every simple query and every Sync is answered by one ReadyForQuery, in order. So the proxy counts both, and knows
//! whose answer it sees even if a client does not wait for one before it asks the next.

use std::collections::{HashMap, VecDeque};

use super::session::{Answer, Frames, Strange};
use super::swallow::Swallow;

/// In place of a version in a startup message, and answered by one byte.
const ASKS_FOR_ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];
/// The one version of the protocol in use.
const VERSION_3: u32 = 3;
/// No startup message is longer (the server's own bound).
const STARTUP_BYTES_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct Postgres {
    client: Frames,
    server: Frames,
    started: bool,
    /// Answers of one byte to come.
    bytes_due: usize,
    /// The text of each prepared statement, by its name.
    statements: HashMap<String, String>,
    /// The statement of each portal, by its name.
    portals: HashMap<String, String>,
    /// Something in this batch, which ends with a Sync, is to be swallowed.
    batch_swallowed: bool,
    asked: u64,
    answered: u64,
    /// Which of the answers are to be swallowed, in order.
    targets: VecDeque<u64>,
}

impl Postgres {
    pub(super) fn client_says(
        &mut self,
        mut bytes: &[u8],
        swallow: &Swallow,
    ) -> Result<(), Strange> {
        while !bytes.is_empty() {
            let (taken, complete) = match self.started {
                false => self.client.take(bytes, 4, startup_length)?,
                true => self.client.take(bytes, 5, message_length)?,
            };
            bytes = &bytes[taken..];
            if complete {
                let frame = self.client.finish();
                match self.started {
                    false => self.startup(&frame)?,
                    true => self.message(&frame, swallow),
                }
            }
        }
        Ok(())
    }

    pub(super) fn server_says(&mut self, bytes: &[u8]) -> Result<Answer, Strange> {
        let mut at = 0;
        // What is thrown away comes last: nothing is passed on after it.
        let mut pass = 0;
        while at < bytes.len() {
            if self.bytes_due > 0 && self.server.is_between() {
                self.bytes_due -= 1;
                if bytes[at] != b'N' {
                    return Err(Strange); // from here on it is encrypted
                }
                at += 1;
                pass = at;
                continue;
            }
            let (taken, complete) = self.server.take(&bytes[at..], 5, message_length)?;
            at += taken;
            let swallowing = self.targets.front() == Some(&(self.answered + 1));
            if !swallowing {
                pass = at;
            }
            if complete && self.server.finish()[0] == b'Z' {
                self.answered += 1;
                if swallowing {
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

    fn startup(&mut self, frame: &[u8]) -> Result<(), Strange> {
        let code = frame.get(4..8).ok_or(Strange)?;
        let code = u32::from_be_bytes(code.try_into().expect("four bytes"));
        if ASKS_FOR_ENCRYPTION.contains(&code) {
            self.bytes_due += 1;
        } else if code >> 16 == VERSION_3 {
            self.started = true;
            self.asked += 1;
        } else {
            return Err(Strange); // a request to cancel, or nothing that we know
        }
        Ok(())
    }

    fn message(&mut self, frame: &[u8], swallow: &Swallow) {
        let (kind, payload) = (frame[0], &frame[5..]);
        match kind {
            b'Q' => {
                self.asked += 1;
                if swallow.takes(&word(payload, 0).0) {
                    self.targets.push_back(self.asked);
                }
            }
            b'P' => {
                let (name, end) = word(payload, 0);
                self.statements.insert(name, word(payload, end).0);
            }
            b'B' => {
                let (portal, end) = word(payload, 0);
                self.portals.insert(portal, word(payload, end).0);
            }
            b'E' => {
                let statement = self.portals.get(&word(payload, 0).0);
                let text = statement.and_then(|name| self.statements.get(name));
                if text.is_some_and(|text| swallow.takes(text)) {
                    self.batch_swallowed = true;
                }
            }
            b'C' => {
                let (name, _) = word(payload, 1);
                match payload.first() {
                    Some(b'S') => drop(self.statements.remove(&name)),
                    _ => drop(self.portals.remove(&name)),
                }
            }
            b'S' | b'F' => {
                self.asked += 1;
                if std::mem::take(&mut self.batch_swallowed) {
                    self.targets.push_back(self.asked);
                }
            }
            _ => {}
        }
    }
}

fn startup_length(header: &[u8]) -> Result<usize, Strange> {
    let length = int(header);
    (8..=STARTUP_BYTES_MAX)
        .contains(&length)
        .then_some(length)
        .ok_or(Strange)
}

/// One byte that tells its kind, then the length of all but that byte.
fn message_length(header: &[u8]) -> Result<usize, Strange> {
    match int(&header[1..5]) {
        length @ 4.. => Ok(length + 1),
        _ => Err(Strange),
    }
}

fn int(bytes: &[u8]) -> usize {
    u32::from_be_bytes(bytes.try_into().expect("four bytes")) as usize
}

/// The text from `start` to the next NUL, and where the next one begins.
fn word(payload: &[u8], start: usize) -> (String, usize) {
    let rest = payload.get(start..).unwrap_or_default();
    let length = rest
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(rest.len());
    (
        String::from_utf8_lossy(&rest[..length]).into_owned(),
        start + length + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len() + 4).unwrap();
        [&[kind], &length.to_be_bytes()[..], payload].concat()
    }

    fn startup(code: u32) -> Vec<u8> {
        [8u32.to_be_bytes(), code.to_be_bytes()].concat()
    }

    fn ready() -> Vec<u8> {
        message(b'Z', b"I")
    }

    /// Started, with the server's first answer seen.
    fn started(swallow: &Swallow) -> Postgres {
        let mut postgres = Postgres::default();
        postgres
            .client_says(&startup(ASKS_FOR_ENCRYPTION[0]), swallow)
            .unwrap();
        assert_eq!(postgres.server_says(b"N").unwrap(), Answer::all(b"N"));
        postgres.client_says(&startup(196_608), swallow).unwrap();
        let hello = [message(b'R', &[0; 4]), ready()].concat();
        assert_eq!(postgres.server_says(&hello).unwrap(), Answer::all(&hello));
        postgres
    }

    /// What of the server's bytes reaches the client if they arrive in pieces of `size`, and whether it was reset.
    fn heard(postgres: &mut Postgres, bytes: &[u8], size: usize) -> (Vec<u8>, bool) {
        let mut passed = Vec::new();
        for piece in bytes.chunks(size) {
            let answer = postgres.server_says(piece).unwrap();
            passed.extend_from_slice(&piece[..answer.pass]);
            if answer.swallowed {
                return (passed, true);
            }
        }
        (passed, false)
    }

    #[test]
    fn only_the_answer_to_the_commit_is_lost_however_the_bytes_are_cut() {
        let first = [message(b'C', b"SELECT 1\0"), ready()].concat();
        let second = [message(b'C', b"COMMIT\0"), ready()].concat();
        let asked = [message(b'Q', b"select 1\0"), message(b'Q', b"commit\0")].concat();
        let answered = [first.clone(), second].concat();
        for size in 1..=answered.len().max(asked.len()) {
            let swallow = Swallow::default();
            swallow.add_commits(1);
            let mut postgres = started(&swallow);
            for piece in asked.chunks(size) {
                postgres.client_says(piece, &swallow).unwrap();
            }
            assert_eq!(
                heard(&mut postgres, &answered, size),
                (first.clone(), true),
                "in pieces of {size}"
            );
        }
    }

    #[test]
    fn a_prepared_statement_is_known_by_its_text_each_time_it_is_executed() {
        let swallow = Swallow::default();
        let mut postgres = started(&swallow);
        swallow.add_text("into t");
        let prepare = [
            message(b'P', b"s1\0insert into t\0\0\0"),
            message(b'S', b""),
        ]
        .concat();
        postgres.client_says(&prepare, &swallow).unwrap();
        let prepared = [message(b'1', b""), ready()].concat();
        assert_eq!(heard(&mut postgres, &prepared, 3), (prepared, false));

        let execute = [
            message(b'B', b"\0s1\0\0\0\0\0\0\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'S', b""),
        ];
        postgres.client_says(&execute.concat(), &swallow).unwrap();
        let executed = [message(b'2', b""), message(b'C', b"INSERT 0 1\0"), ready()].concat();
        assert_eq!(heard(&mut postgres, &executed, 4), (vec![], true));
    }

    #[test]
    fn what_is_encrypted_is_not_read() {
        let swallow = Swallow::default();
        let mut postgres = Postgres::default();
        postgres
            .client_says(&startup(ASKS_FOR_ENCRYPTION[0]), &swallow)
            .unwrap();
        assert!(postgres.server_says(b"S").is_err());
    }
}
