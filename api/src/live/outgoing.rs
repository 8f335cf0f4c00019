//! What waits to be written to a WebSocket: frames in their order. A frame of text is a few bytes of head and the bytes of its
//! message, which all sockets that are sent it share. Pure: it is told how much of it was written.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

/// Bytes that may wait. At it: the socket ends.
const MAX_WAITING: usize = 1 << 20;

/// Frames for which room is kept while nothing waits; beyond that it is given back.
const KEPT_FRAMES: usize = 4;

/// Longest head of a frame from the server, which has no mask.
const HEAD: usize = 10;

/// Frames that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    frames: VecDeque<Frame>,
    /// Bytes of the first frame that are written already.
    begun: usize,
    /// Bytes that wait.
    waiting: usize,
}

#[derive(Debug)]
struct Frame {
    head: [u8; HEAD],
    head_bytes: u8,
    payload: Bytes,
}

/// As much waits as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Outgoing {
    /// Puts a message behind what waits, as one frame of text.
    pub(super) fn push_text(&mut self, text: Bytes) -> Result<(), Full> {
        let (head, head_bytes) = head_of_text(text.len());
        self.push(Frame { head, head_bytes, payload: text })
    }

    /// Puts whole frames that are written down already behind what waits.
    pub(super) fn push_frames(&mut self, frames: &[u8]) -> Result<(), Full> {
        if frames.is_empty() {
            return Ok(());
        }
        self.push(Frame { head: [0; HEAD], head_bytes: 0, payload: Bytes::copy_from_slice(frames) })
    }

    fn push(&mut self, frame: Frame) -> Result<(), Full> {
        if self.waiting + frame.len() > MAX_WAITING {
            return Err(Full);
        }
        self.waiting += frame.len();
        self.frames.push_back(frame);
        Ok(())
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// What is written next, in as many slices as there is room for. Answers with how many there are.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut begun = self.begun;
        let mut count = 0;
        for part in self.frames.iter().flat_map(|frame| [frame.head(), &frame.payload[..]]) {
            let written = begun.min(part.len());
            begun -= written;
            let part = &part[written..];
            if part.is_empty() {
                continue;
            }
            let Some(slice) = slices.get_mut(count) else { break };
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }

    /// So many bytes of it were written.
    pub(super) fn advance(&mut self, written: usize) {
        self.waiting = self.waiting.saturating_sub(written);
        self.begun += written;
        while let Some(first) = self.frames.front().map(Frame::len)
            && first <= self.begun
        {
            self.begun -= first;
            self.frames.pop_front();
        }
        if self.frames.is_empty() {
            self.frames.shrink_to(KEPT_FRAMES);
        }
    }
}

impl Frame {
    fn len(&self) -> usize {
        usize::from(self.head_bytes) + self.payload.len()
    }

    fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_bytes)]
    }
}

/// The head of a frame that is a whole message of text (RFC 6455, 5.2), and its length.
fn head_of_text(length: usize) -> ([u8; HEAD], u8) {
    /// The last frame of its message, and text.
    const FINAL_TEXT: u8 = 0x81;
    /// The length is in the two bytes behind it.
    const IN_TWO: u8 = 126;
    /// The length is in the eight bytes behind it.
    const IN_EIGHT: u8 = 127;
    let mut head = [0; HEAD];
    head[0] = FINAL_TEXT;
    let head_bytes = match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < IN_TWO => {
            head[1] = short;
            2
        }
        (_, Ok(middle)) => {
            head[1] = IN_TWO;
            head[2..4].copy_from_slice(&middle.to_be_bytes());
            4
        }
        _ => {
            head[1] = IN_EIGHT;
            head[2..].copy_from_slice(&(length as u64).to_be_bytes());
            HEAD as u8
        }
    };
    (head, head_bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use tungstenite::protocol::Role;
    use tungstenite::protocol::frame::FrameHeader;
    use tungstenite::protocol::frame::coding::{Data, OpCode};
    use tungstenite::{Message, WebSocket};

    use super::*;

    /// Writes at most so many bytes, as a connection takes them.
    fn write(outgoing: &mut Outgoing, most: usize, seen: &mut Vec<u8>) {
        let mut slices = [IoSlice::new(&[]); 3];
        let count = outgoing.slices(&mut slices);
        let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
        let written = bytes.len().min(most);
        seen.extend_from_slice(&bytes[..written]);
        outgoing.advance(written);
    }

    #[test]
    fn heads_are_read_by_another_make() {
        for length in [0, 1, 125, 126, 127, 255, 256, 65_535, 65_536, 1 << 20] {
            let (head, head_bytes) = head_of_text(length);
            let head = &head[..usize::from(head_bytes)];
            let mut cursor = Cursor::new(head);
            let (read, read_length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert_eq!(read_length, length as u64);
            assert_eq!(cursor.position(), head.len() as u64, "of {length}");
            assert!(read.is_final && read.mask.is_none() && !(read.rsv1 || read.rsv2 || read.rsv3));
            assert_eq!(read.opcode, OpCode::Data(Data::Text));
        }
    }

    #[test]
    fn a_message_is_not_copied() {
        let text = Bytes::from("x".repeat(300));
        let mut outgoing = Outgoing::default();
        outgoing.push_text(text.clone()).unwrap();
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(outgoing.slices(&mut slices), 2);
        assert_eq!(slices[1].as_ptr(), text.as_ptr());
    }

    #[test]
    fn nothing_is_kept_of_what_was_written() {
        let text = Bytes::from("x".repeat(300));
        let mut outgoing = Outgoing::default();
        for _ in 0..1_000 {
            outgoing.push_text(text.clone()).unwrap();
        }
        outgoing.advance(outgoing.waiting() - 1);
        assert_eq!((outgoing.waiting(), outgoing.frames.len()), (1, 1));
        outgoing.advance(1);
        assert_eq!((outgoing.waiting(), outgoing.begun), (0, 0));
        assert!(outgoing.frames.capacity() <= KEPT_FRAMES, "{}", outgoing.frames.capacity());
        assert!(text.is_unique(), "no socket holds it any more");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut outgoing = Outgoing::default();
        outgoing.push_text(Bytes::from(vec![b'x'; MAX_WAITING - HEAD])).unwrap();
        assert_eq!(outgoing.push_text(Bytes::from_static(b"x")), Err(Full));
        assert_eq!(outgoing.push_frames(b"\x8a\x00"), Err(Full));
        assert_eq!(outgoing.push_frames(b""), Ok(()));
        assert_eq!(outgoing.waiting(), MAX_WAITING);
        outgoing.advance(3);
        assert_eq!(outgoing.push_text(Bytes::from_static(b"x")), Ok(()));
    }

    proptest! {
        /// However little is taken at once, another make reads the very messages, and control frames between them.
        #[test]
        fn what_is_written_is_what_was_pushed(
            pushed in prop::collection::vec((any::<bool>(), "[a-zä]{0,300}"), 1..20),
            steps in prop::collection::vec(0_usize..500, 1..20),
        ) {
            let mut outgoing = Outgoing::default();
            let (mut seen, mut expected) = (Vec::new(), Vec::new());
            let mut steps = steps.into_iter().cycle();
            for (is_pong, text) in pushed {
                if is_pong {
                    outgoing.push_frames(&[0x8a, 1, text.len() as u8]).unwrap();
                    expected.push(Message::Pong(vec![text.len() as u8].into()));
                } else {
                    outgoing.push_text(Bytes::from(text.clone())).unwrap();
                    expected.push(Message::text(text));
                }
                write(&mut outgoing, steps.next().unwrap(), &mut seen);
            }
            while outgoing.waiting() > 0 {
                write(&mut outgoing, steps.next().unwrap() + 1, &mut seen);
            }
            let mut reader = WebSocket::from_raw_socket(Cursor::new(seen), Role::Client, None);
            for message in expected {
                prop_assert_eq!(reader.read().unwrap(), message);
            }
            prop_assert!(reader.read().is_err(), "nothing else was written");
        }
    }
}
