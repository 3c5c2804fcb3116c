//! CRC-32 (IEEE): tells a mistyped text from the right one, and proves nothing.

use crc::{CRC_32_ISO_HDLC, Crc};

/// One table of 1 KiB: larger ones are faster for long texts, and for short ones they only crowd the processor's cache.
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

pub fn crc32(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}
