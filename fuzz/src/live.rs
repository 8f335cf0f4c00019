//! What clients of live push send: messages, and positions to go on at.

use kelly_live::{
    MAX_POSITION_BYTES, MAX_ROOMS, MessageId, Position, Request, ServerMessage, parse_command,
    positions_text, render,
};

/// Longest id that is given back.
const ID_CHARACTERS: usize = 64;

fn is_short(id: Option<&MessageId>) -> bool {
    !matches!(id, Some(MessageId::Text(text)) if text.chars().count() > ID_CHARACTERS)
}

/// A message: what is understood is within the limits, and the answer to what is not is no longer than what was sent, but for
/// a few words.
pub fn live_message(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match parse_command(&text) {
        Ok(command) => {
            assert!(is_short(command.id.as_ref()));
            match command.what {
                Request::Subscribe(rooms) => assert!((1..=MAX_ROOMS).contains(&rooms.len())),
                Request::Unsubscribe(rooms) => assert!((1..=MAX_ROOMS).contains(&rooms.len())),
                Request::GetMetrics | Request::Ping | Request::RefreshToken(_) => {}
            }
        }
        Err(mistake) => {
            assert!(is_short(mistake.id.as_ref()));
            let answer = render(&ServerMessage::from(mistake));
            assert!(answer.len() <= 6 * text.len() + 1_024, "{} of {}", answer.len(), text.len());
            let answer: serde_json::Value = serde_json::from_slice(&answer).expect("the answer is JSON");
            assert_eq!(answer["type"], "error");
        }
    }
}

/// Positions: what is read is written so that it is read the same again, as one line of visible ASCII.
pub fn live_position(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(positions) = Position::read_all(&text) else { return };
    // As many rooms as there are here may be at places of their own, which makes more of a text than is read.
    let Some(written) = positions_text(&positions) else { return };
    assert!(written.len() <= MAX_POSITION_BYTES);
    assert!(written.bytes().all(|byte| byte.is_ascii_graphic()), "{written:?}");
    assert_eq!(Position::read_all(&written).as_ref(), Ok(&positions), "{written}");
}
