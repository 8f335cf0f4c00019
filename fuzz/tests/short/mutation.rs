//! Inputs made of others: bytes changed, cut out, repeated, words of the formats put in, two inputs joined.

/// Longest input that is made.
const MAX_BYTES: usize = 4_096;

/// Changes to one input, at most.
const MAX_CHANGES: u64 = 5;

/// What the formats turn on, and no random byte would spell.
const WORDS: [&str; 50] = [
    "\"metric_name\":",
    "\"value\":",
    "\"timestamp\":",
    "\"created_at\":",
    "\"metadata\":{",
    "\"text\":",
    "\"Message-Body\":",
    "\"title\":",
    "\"id\":",
    "\"vip\":true",
    "\"severity\":\"high\"",
    "\\u0000",
    "\\ud800",
    "\\\"",
    "null",
    "true",
    "1e999",
    "-0.0",
    "1e130",
    "NaN",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\n",
    "\u{feff}",
    "é",
    "2024-09-11T15:30:45Z",
    "+14:00",
    "-00:00",
    "kelly1;nonce=",
    ";end=",
    ";shape=",
    ";age=",
    ";raw=",
    "\"type\":\"subscribe\"",
    "\"rooms\":[",
    "\"resume\":{",
    "\"offsets\":[",
    "\"exp\":1900000000",
    "\"aud\":\"kelly\"",
    "\"sub\":\"a\"",
    "\"alg\":\"none\"",
    "=:",
    "%20",
    "99999999999999999999",
    "[[[[[[[[[[[[[[[[[",
];

/// An endless source of inputs, the same for the same seed.
pub struct Mutator<'i> {
    state: u64,
    inputs: &'i [Vec<u8>],
}

impl<'i> Mutator<'i> {
    pub fn new(seed: u64, inputs: &'i [Vec<u8>]) -> Self {
        // Zero is the one state xorshift does not leave.
        Self { state: seed | 1, inputs }
    }

    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.any_input().to_vec();
        for _ in 0..=self.below(MAX_CHANGES) {
            self.change(&mut input);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() as u64 + 1) as usize;
        let until = (at + 1 + self.below(16) as usize).min(input.len());
        match self.below(7) {
            0 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (self.state % 8)),
            1 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = (self.state >> 32) as u8),
            2 => drop(input.drain(at..until)),
            3 => {
                let again = input[at..until].to_vec();
                input.splice(at..at, again);
            }
            4 | 5 => {
                let word = WORDS[self.below(WORDS.len() as u64) as usize];
                input.splice(at..at, word.bytes());
            }
            _ => {
                let other = self.any_input();
                let from = self.below(other.len() as u64 + 1) as usize;
                input.splice(at.., other[from..].iter().copied());
            }
        }
    }

    fn any_input(&mut self) -> &'i [u8] {
        let choice = self.below(self.inputs.len() as u64) as usize;
        &self.inputs[choice]
    }

    /// A number below `bound`, which is not zero. Xorshift: even enough for this.
    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % bound
    }
}
