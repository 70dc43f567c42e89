/* What the files of pki share among themselves. */
#ifndef PTA_WIRE_PKI_INTERNAL_H
#define PTA_WIRE_PKI_INTERNAL_H

#include "wire/pki.h"

/* -PTA_ECRYPTO with "what: OpenSSL's newest error"; the queue is empty afterwards. */
int pki_fail(struct err *err, const char *what);
void pki_bio_freep(BIO **bio);
/* A pem_password_cb that has none. */
int pki_no_password(char *out, int size, int rwflag, void *arg);
/* NULL with a text when the text is empty or too long. */
BIO *pki_pem_reader(const void *pem, size_t len, struct err *err);
int pki_pem_append(BIO *bio, struct buf *out);
bool pki_is_p256(EVP_PKEY *key);

#endif
