//! Every kernel that this processor has, against the crate `scrypt` and a known header.

use bmm_scrypt::{HEADER_LEN, Hasher, Kernel};
use proptest::{collection, prelude::*};

fn reference(header: &[u8; HEADER_LEN]) -> [u8; 32] {
    let params = scrypt::Params::new(10, 1, 1).expect("N = 1024, r = 1, p = 1");
    let mut hash = [0; 32];
    scrypt::scrypt(header, header, &params, &mut hash).expect("32 bytes");
    hash
}

fn hashers() -> Vec<Hasher> {
    let hashers: Vec<Hasher> = Kernel::ALL.into_iter().filter_map(Hasher::with).collect();
    assert_eq!(hashers.last().map(Hasher::kernel), Some(Kernel::best()));
    hashers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn kernels_agree_with_the_crate(headers in collection::vec(collection::vec(any::<u8>(), HEADER_LEN), 0..40)) {
        let headers: Vec<[u8; HEADER_LEN]> =
            headers.into_iter().map(|header| header.try_into().expect("of that length")).collect();
        let expected: Vec<[u8; 32]> = headers.iter().map(reference).collect();
        for mut hasher in hashers() {
            let mut hashes = vec![[0; 32]; headers.len()];
            hasher.hash(&headers, &mut hashes);
            prop_assert_eq!(&hashes, &expected, "{}", hasher.kernel());
            // What lay in the tables before makes no difference.
            hasher.hash(&headers, &mut hashes);
            prop_assert_eq!(&hashes, &expected, "{} again", hasher.kernel());
        }
    }
}

/// The header of Litecoin's genesis block, whose hash has to be below 2^236.
#[test]
fn the_first_block_of_litecoin_has_its_work() {
    let text = "010000000000000000000000000000000000000000000000000000000000000000000000d9ced4ed1130f7b7faad9be25323ffafa33232a17c3edf6cfd97bee6bafbdd97\
                b9aa8e4ef0ff0f1ecd513f7c";
    let bytes: Vec<u8> =
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("digits")).collect();
    let header: [u8; HEADER_LEN] = bytes.try_into().expect("80 bytes");
    for mut hasher in hashers() {
        let mut hash = [[0; 32]];
        hasher.hash(&[header], &mut hash);
        assert_eq!(hash[0][30..], [0, 0], "{}", hasher.kernel());
        assert!(hash[0][29] < 0x10, "{}", hasher.kernel());
    }
}

#[test]
#[should_panic(expected = "a hash for each header")]
fn as_many_hashes_as_headers() {
    Hasher::new().hash(&[[0; HEADER_LEN]], &mut []);
}
