//! [`Mutations`]: inputs near those of a corpus.

/// Inputs, one after another; the same ones for the same corpus.
pub(crate) struct Mutations {
    corpus: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    state: u64,
}

/// No input is longer.
const LONGEST: usize = 2_048;

impl Mutations {
    /// `dictionary`: as libFuzzer has it, a word in quotes on each line.
    pub(crate) fn new(corpus: Vec<Vec<u8>>, dictionary: &str) -> Self {
        let quoted = |line: &str| Some(word(line.strip_prefix('"')?.strip_suffix('"')?));
        Self {
            corpus,
            words: dictionary.lines().filter_map(quoted).collect(),
            state: 0x9E37_79B9_7F4A_7C15,
        }
    }

    /// One of `0..end`; 0 if there is none.
    fn below(&mut self, end: usize) -> usize {
        // Xorshift (Marsaglia 2003).
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 16) as usize % end.max(1)
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = 1 + self.below(most);
        (0..length).map(|_| self.below(256) as u8).collect()
    }

    pub(crate) fn next(&mut self) -> Vec<u8> {
        let start = self.below(self.corpus.len() + 1);
        let mut input = match self.corpus.get(start) {
            Some(input) => input.clone(),
            None => self.bytes(400),
        };
        for _ in 0..=self.below(6) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        // What a fuzzer keeps for its coverage, this keeps now and then.
        if self.below(16) == 0 && self.corpus.len() < 200 {
            self.corpus.push(input.clone());
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let end = (at + 1 + self.below(16)).min(input.len());
        match self.below(7) {
            0 | 1 if at < input.len() => input[at] = self.below(256) as u8,
            2 if at < input.len() => input[at] ^= 1 << self.below(8),
            3 => _ = input.drain(at..end),
            4 => {
                let word = self.below(self.words.len());
                let word = self.words.get(word).cloned().unwrap_or_default();
                input.splice(at..at, word);
            }
            5 => {
                let other = self.below(self.corpus.len());
                let other = self.corpus.get(other).cloned().unwrap_or_default();
                let from = self.below(other.len() + 1);
                let upto = (from + 1 + self.below(100)).min(other.len());
                input.splice(at..at, other[from..upto].iter().copied());
            }
            _ => {
                let bytes = self.bytes(8);
                input.splice(at..at, bytes);
            }
        }
    }
}

/// What stands between the quotes: `\xAB` is a byte, and a backslash hides what is behind it.
fn word(quoted: &str) -> Vec<u8> {
    let mut bytes = quoted.bytes();
    let mut word = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            word.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'x') => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                word.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            hidden => word.extend(hidden),
        }
    }
    word
}
