//! Bytes as a network delivers them: in pieces.

/// These bytes, cut into pieces whose lengths follow from `seed`; none is empty.
pub fn cut(mut bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut state = u32::from(seed) | 0x100;
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Mostly a few bytes, sometimes many.
        let length = match state >> 30 {
            0 => 1,
            1 => 1 + (state >> 8) as usize % 8,
            2 => 1 + (state >> 8) as usize % 64,
            _ => 1 + (state >> 8) as usize % 5_000,
        };
        let (piece, rest) = bytes.split_at(length.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}
