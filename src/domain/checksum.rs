//! CRC-32 (IEEE) checksums, which detect typing errors and prove nothing.

use crc::{CRC_32_ISO_HDLC, Crc};

/// Algorithm with one table of 1 KiB. Larger tables are faster for long texts, but crowd the cache for short ones.
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Returns the checksum of some bytes.
pub fn crc32(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}
