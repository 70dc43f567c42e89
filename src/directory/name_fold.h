/* Whether two names of accounts are one, as AD compares them without case (MS-ADTS 3.1.1.2.2.4), but stricter: what differs
 * in more than case (accents, width) does not compare equal here. Thread-safe. */
#ifndef PTA_DIRECTORY_NAME_FOLD_H
#define PTA_DIRECTORY_NAME_FOLD_H

#include <stdbool.h>
#include <stddef.h>

/* UTF-8; what is not valid UTF-8 compares byte for byte. */
bool name_fold_equal(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
