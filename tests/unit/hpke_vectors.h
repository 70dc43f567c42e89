/* Test vectors of mode_base, DHKEM(X25519, HKDF-SHA256) and HKDF-SHA256: RFC 9180 Appendix A and, for AES-256-GCM, which the RFC
 * leaves out, the CFRG's test-vectors.json that the RFC was made from. Each plaintext is HPKE_VECTOR_PLAIN. `accumulated` stands for
 * 1,000 messages in a row: SHAKE-128 (16 bytes) over their ciphertexts, aad and plaintext drawn in turn (a length byte and as many bytes)
 * from SHAKE-128 of nothing. */
#ifndef PTA_TESTS_HPKE_VECTORS_H
#define PTA_TESTS_HPKE_VECTORS_H

#include <stdint.h>

#include "wire/hpke.h"

#define HPKE_VECTOR_PLAIN "4265617574792069732074727574682c20747275746820626561757479"

static const struct hpke_vector {
	const char *source;
	enum hpke_aead aead;
	const char *info, *ikm_e, *ikm_r, *pk_r, *enc;
	struct {
		uint64_t seq;
		const char *aad, *ct;
	} encryptions[6]; /* ct NULL: fewer */
	struct {
		const char *context, *value;
	} exports[3];
	const char *accumulated;
} hpke_vectors[] = {
	{
		.source = "RFC 9180 A.1.1",
		.aead = HPKE_AES_128_GCM,
		.info = "4f6465206f6e2061204772656369616e2055726e",
		.ikm_e = "7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234",
		.ikm_r = "6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037",
		.pk_r = "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
		.enc = "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
		.encryptions =
			{
				{0, "436f756e742d30", "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"},
				{1, "436f756e742d31", "af2d7e9ac9ae7e270f46ba1f975be53c09f8d875bdc8535458c2494e8a6eab251c03d0c22a56b8ca42c2063b84"},
				{2, "436f756e742d32", "498dfcabd92e8acedc281e85af1cb4e3e31c7dc394a1ca20e173cb72516491588d96a19ad4a683518973dcc180"},
				{4, "436f756e742d34", "583bd32bc67a5994bb8ceaca813d369bca7b2a42408cddef5e22f880b631215a09fc0012bc69fccaa251c0246d"},
				{255, "436f756e742d323535", "7175db9717964058640a3a11fb9007941a5d1757fda1a6935c805c21af32505bf106deefec4a49ac38d71c9e0a"},
				{256, "436f756e742d323536", "957f9800542b0b8891badb026d79cc54597cb2d225b54c00c5238c25d05c30e3fbeda97d2e0e1aba483a2df9f2"},
			},
		.exports =
			{
				{"", "3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee"},
				{"00", "2e8f0b54673c7029649d4eb9d5e33bf1872cf76d623ff164ac185da9e88c21a5"},
				{"54657374436f6e74657874", "e9e43065102c3836401bed8c3c3c75ae46be1639869391d62c61f1ec7af54931"},
			},
		.accumulated = "dcabb32ad8e8acea785275323395abd0",
	},
	{
		.source = "CFRG test-vectors.json",
		.aead = HPKE_AES_256_GCM,
		.info = "4f6465206f6e2061204772656369616e2055726e",
		.ikm_e = "2cd7c601cefb3d42a62b04b7a9041494c06c7843818e0ce28a8f704ae7ab20f9",
		.ikm_r = "dac33b0e9db1b59dbbea58d59a14e7b5896e9bdf98fad6891e99d1686492b9ee",
		.pk_r = "430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c",
		.enc = "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256",
		.encryptions =
			{
				{0, "436f756e742d30", "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a"},
			},
		.exports =
			{
				{"", "ded6cffafaea6b812cbf3e241e88332adbc077aca81512914213810ee291770a"},
				{"00", "04d3cb6cc116b28ffd22ad5bc276c60d31fec71ceb87ae24db811c64b7507339"},
				{"54657374436f6e74657874", "7c5ded445732c14fe09727d29b4251c0fd38455fe8440571e687f0886aac94d2"},
			},
		.accumulated = "1702e73e1e71705faa8241022af1deea",
	},
	{
		.source = "RFC 9180 A.2.1",
		.aead = HPKE_CHACHA20_POLY1305,
		.info = "4f6465206f6e2061204772656369616e2055726e",
		.ikm_e = "909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b",
		.ikm_r = "1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df",
		.pk_r = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a",
		.enc = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
		.encryptions =
			{
				{0, "436f756e742d30", "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"},
				{1, "436f756e742d31", "6b53c051e4199c518de79594e1c4ab18b96f081549d45ce015be002090bb119e85285337cc95ba5f59992dc98c"},
				{2, "436f756e742d32", "71146bd6795ccc9c49ce25dda112a48f202ad220559502cef1f34271e0cb4b02b4f10ecac6f48c32f878fae86b"},
				{4, "436f756e742d34", "63357a2aa291f5a4e5f27db6baa2af8cf77427c7c1a909e0b37214dd47db122bb153495ff0b02e9e54a50dbe16"},
				{255, "436f756e742d323535", "18ab939d63ddec9f6ac2b60d61d36a7375d2070c9b683861110757062c52b8880a5f6b3936da9cd6c23ef2a95c"},
				{256, "436f756e742d323536", "7a4a13e9ef23978e2c520fd4d2e757514ae160cd0cd05e556ef692370ca53076214c0c40d4c728d6ed9e727a5b"},
			},
		.exports =
			{
				{"", "4bbd6243b8bb54cec311fac9df81841b6fd61f56538a775e7c80a9f40160606e"},
				{"00", "8c1df14732580e5501b00f82b10a1647b40713191b7c1240ac80e2b68808ba69"},
				{"54657374436f6e74657874", "5acb09211139c43b3090489a9da433e8a30ee7188ba8b0a9a1ccf0c229283e53"},
			},
		.accumulated = "225fb3d35da3bb25e4371bcee4273502",
	},
};

#endif
