#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/buf.h"

static void appends_grow_and_stay_terminated(void **state)
{
	struct buf buf = BUF_INIT(100000);

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		buf_printf(&buf, "%04u", i % 10000);
		assert_int_equal(strlen((char *)buf.data), buf.len);
	}
	assert_true(buf_ok(&buf));
	assert_int_equal(buf.len, 40000);
	assert_memory_equal(buf.data + 4 * 1234, "1234", 4);
	buf_done(&buf);
	assert_null(buf.data);
	buf_puts(&buf, "again"); /* the limit stays */
	assert_string_equal((char *)buf.data, "again");
	buf_done(&buf);
}

static void limit_is_exact_and_failure_stays(void **state)
{
	struct buf buf = BUF_INIT(8);

	(void)state;
	buf_puts(&buf, "12345678");
	assert_true(buf_ok(&buf));
	assert_int_equal(buf.len, 8);
	buf_putc(&buf, '9');
	assert_false(buf_ok(&buf));
	assert_string_equal((char *)buf.data, "12345678");
	buf_reset(&buf);
	assert_true(buf_ok(&buf));
	buf_printf(&buf, "%s", "123456789");
	assert_false(buf_ok(&buf));
	assert_int_equal(buf.len, 0);
	assert_string_equal((char *)buf.data, "");
	buf_puts(&buf, "x"); /* nothing more after a failure */
	assert_int_equal(buf.len, 0);
	buf_done(&buf);
}

static void huge_lengths_fail_without_overflow(void **state)
{
	struct buf buf = BUF_INIT(SIZE_MAX);

	(void)state;
	buf_puts(&buf, "x");
	buf_reserve(&buf, SIZE_MAX - 1);
	assert_false(buf_ok(&buf));
	assert_int_equal(buf.len, 1);
	buf_done(&buf);
}

static void reserve_allocates_once(void **state)
{
	struct buf buf = BUF_INIT_WIPED(1000);
	const uint8_t *data;

	(void)state;
	buf_reserve(&buf, 1000);
	data = buf.data;
	for (unsigned i = 0; i < 1000; i++)
		buf_putc(&buf, 'x');
	assert_true(buf_ok(&buf));
	assert_ptr_equal(buf.data, data);
	buf_done(&buf);
}

static void wiped_buffers_keep_their_content_when_they_grow(void **state)
{
	struct buf buf = BUF_INIT_WIPED(1000);

	(void)state;
	for (unsigned i = 0; i < 500; i++)
		buf_putc(&buf, (char)('a' + i % 26));
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(buf.data[i], 'a' + i % 26);
	buf_reset(&buf);
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(buf.data[i], 0);
	buf_done(&buf);
}

static void numbers_are_big_endian_and_read_back(void **state)
{
	static const uint8_t wire[] = {1, 0x02, 0x03, 4, 5, 6, 7, 0x80, 9, 10, 11, 12, 13, 14, 15, 0, 3, 'a', 'b', 'c'};
	struct buf buf = BUF_INIT(100);
	struct reader r;
	const uint8_t *bytes;
	size_t len;

	(void)state;
	buf_put_u8(&buf, 1);
	buf_put_u16(&buf, 0x0203);
	buf_put_u32(&buf, 0x04050607);
	buf_put_u64(&buf, UINT64_C(0x80090a0b0c0d0e0f));
	buf_put_lp(&buf, "abc", 3);
	assert_int_equal(buf.len, sizeof(wire));
	assert_memory_equal(buf.data, wire, sizeof(wire));
	r = READER(buf.data, buf.len);
	assert_int_equal(reader_u8(&r), 1);
	assert_int_equal(reader_u16(&r), 0x0203);
	assert_int_equal(reader_u32(&r), 0x04050607);
	assert_true(reader_u64(&r) == UINT64_C(0x80090a0b0c0d0e0f));
	assert_false(reader_done(&r));
	bytes = reader_lp(&r, &len);
	assert_int_equal(len, 3);
	assert_memory_equal(bytes, "abc", 3);
	assert_true(reader_done(&r));
	buf_done(&buf);
}

static void reading_past_the_end_fails_for_good(void **state)
{
	static const uint8_t wire[] = {0, 5, 'a', 'b'};
	struct reader r = READER(wire, sizeof(wire));
	size_t len = 99;

	(void)state;
	assert_null(reader_lp(&r, &len));
	assert_int_equal(len, 0);
	assert_int_equal(reader_u8(&r), 0);
	assert_true(r.failed);
	assert_false(reader_done(&r));
	r = READER(wire, 3);
	assert_int_equal(reader_u32(&r), 0);
	assert_true(r.failed);
	r = READER(wire, sizeof(wire));
	assert_null(reader_bytes(&r, SIZE_MAX));
}

static void length_prefix_takes_65535_bytes_and_no_more(void **state)
{
	static uint8_t data[65536];
	struct buf buf = BUF_INIT(200000);

	(void)state;
	buf_put_lp(&buf, data, 65535);
	assert_true(buf_ok(&buf));
	assert_int_equal(buf.len, 65537);
	buf_put_lp(&buf, data, 65536);
	assert_false(buf_ok(&buf));
	buf_done(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appends_grow_and_stay_terminated),
		cmocka_unit_test(limit_is_exact_and_failure_stays),
		cmocka_unit_test(huge_lengths_fail_without_overflow),
		cmocka_unit_test(reserve_allocates_once),
		cmocka_unit_test(wiped_buffers_keep_their_content_when_they_grow),
		cmocka_unit_test(numbers_are_big_endian_and_read_back),
		cmocka_unit_test(reading_past_the_end_fails_for_good),
		cmocka_unit_test(length_prefix_takes_65535_bytes_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
