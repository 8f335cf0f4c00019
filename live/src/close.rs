//! Why the server ends a connection, as a table.

/// What a client does after a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// Connects again, and resumes.
    Reconnect,
    /// Does not connect again by itself: the same would happen.
    Final,
}

/// Why the server ends a connection. Codes from 4000 to 4499 mean "connect again", the others are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The client asked for it.
    Normal,
    /// A frame that is no text.
    NotText,
    /// A message that is larger than taken.
    TooLarge,
    /// The server stops.
    ShuttingDown,
    /// The token has ended.
    TokenExpired,
    /// The client did not read fast enough.
    SlowConsumer,
    /// No answer to pings.
    NoSignOfLife,
    /// More messages from the client than taken.
    TooManyMessages,
    /// The rights are gone: the token was withdrawn, or its roles do not suffice any more.
    Forbidden,
    /// A defect of the server.
    Internal,
}

impl Close {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 10] = [
        Self::Normal,
        Self::NotText,
        Self::TooLarge,
        Self::ShuttingDown,
        Self::TokenExpired,
        Self::SlowConsumer,
        Self::NoSignOfLife,
        Self::TooManyMessages,
        Self::Internal,
        Self::Forbidden,
    ];

    /// The close code of the WebSocket.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::NotText => 1003,
            Self::TooLarge => 1009,
            Self::ShuttingDown => 4000,
            Self::TokenExpired => 4001,
            Self::SlowConsumer => 4008,
            Self::NoSignOfLife => 4009,
            Self::TooManyMessages => 4029,
            Self::Internal => 4100,
            Self::Forbidden => 4503,
        }
    }

    /// Its name, which the close frame carries as its reason.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::NotText => "not_text",
            Self::TooLarge => "too_large",
            Self::ShuttingDown => "shutting_down",
            Self::TokenExpired => "token_expired",
            Self::SlowConsumer => "slow_consumer",
            Self::NoSignOfLife => "no_sign_of_life",
            Self::TooManyMessages => "too_many_messages",
            Self::Internal => "internal",
            Self::Forbidden => "forbidden",
        }
    }

    /// What a client does then.
    #[must_use]
    pub const fn outlook(self) -> Outlook {
        match self.code() {
            4000..=4499 => Outlook::Reconnect,
            _ => Outlook::Final,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique_and_in_order() {
        let codes: Vec<u16> = Close::ALL.into_iter().map(Close::code).collect();
        assert!(codes.is_sorted() && codes.windows(2).all(|two| two[0] != two[1]), "{codes:?}");
        let mut names: Vec<&str> = Close::ALL.into_iter().map(Close::reason).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Close::ALL.len());
    }

    #[test]
    fn every_one_is_in_the_documents() {
        let table = include_str!("../../docs/live.md");
        for close in Close::ALL {
            let what = match close.outlook() {
                Outlook::Reconnect => "connect again",
                Outlook::Final => "final",
            };
            let row = format!("| {} | `{}` | {what} |", close.code(), close.reason());
            assert!(table.contains(&row), "docs/live.md has no row that begins {row:?}");
        }
    }
}
