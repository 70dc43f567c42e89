#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mailbox.h"

#define PRODUCERS 4
#define LETTERS 20000

struct letter {
	unsigned producer, number;
	struct mail mail;
};

static bool readable(const struct mailbox *box)
{
	struct pollfd fd = {.fd = mailbox_fd(box), .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

static void mail_comes_out_oldest_first_and_the_fd_is_rearmed(void **state)
{
	struct letter letters[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
	struct mailbox *box;
	struct mail *mail;

	(void)state;
	assert_int_equal(mailbox_new(&box), 0);
	assert_false(readable(box));
	assert_null(mailbox_take(box));
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 3; i++)
			mailbox_post(box, &letters[i].mail);
		assert_true(readable(box));
		mail = mailbox_take(box);
		for (unsigned i = 0; i < 3; i++, mail = mail->next)
			assert_int_equal(MAIL_CONTAINER(mail, struct letter, mail)->number, i);
		assert_null(mail);
		assert_false(readable(box));
	}
	mailbox_free(box);
	mailbox_free(NULL);
}

static void held_back_wakes_come_with_the_release(void **state)
{
	struct letter letters[4] = {0};
	struct mailbox *first, *second;

	(void)state;
	assert_int_equal(mailbox_new(&first), 0);
	assert_int_equal(mailbox_new(&second), 0);
	mailbox_hold();
	mailbox_post(first, &letters[0].mail);
	mailbox_post(first, &letters[1].mail);
	mailbox_post(second, &letters[2].mail);
	assert_false(readable(first));
	assert_false(readable(second));
	/* A consumer that looks without having been woken, and mail after that: one wake all the same. */
	assert_ptr_equal(mailbox_take(first), &letters[0].mail);
	mailbox_post(first, &letters[3].mail);
	mailbox_release();
	assert_true(readable(first));
	assert_true(readable(second));
	assert_ptr_equal(mailbox_take(first), &letters[3].mail);
	assert_false(readable(first));
	mailbox_post(first, &letters[0].mail);
	assert_true(readable(first));
	mailbox_free(first);
	mailbox_free(second);
}

static void more_boxes_than_can_be_held_are_woken_at_once(void **state)
{
	struct letter letters[16] = {0};
	struct mailbox *boxes[16];

	(void)state;
	mailbox_hold();
	for (unsigned i = 0; i < 16; i++) {
		assert_int_equal(mailbox_new(&boxes[i]), 0);
		mailbox_post(boxes[i], &letters[i].mail);
	}
	assert_true(readable(boxes[15]));
	mailbox_release();
	for (unsigned i = 0; i < 16; i++) {
		assert_true(readable(boxes[i]));
		assert_ptr_equal(mailbox_take(boxes[i]), &letters[i].mail);
		mailbox_free(boxes[i]);
	}
}

struct producer {
	pthread_t thread;
	struct mailbox *box;
	struct letter *letters;
};

static void *produce(void *arg)
{
	struct producer *p = arg;

	for (unsigned i = 0; i < LETTERS; i++)
		mailbox_post(p->box, &p->letters[i].mail);
	return NULL;
}

static void many_producers_lose_nothing_and_each_keeps_its_order(void **state)
{
	struct producer producers[PRODUCERS];
	unsigned next[PRODUCERS] = {0}, got = 0;
	struct mailbox *box;

	(void)state;
	assert_int_equal(mailbox_new(&box), 0);
	for (unsigned p = 0; p < PRODUCERS; p++) {
		producers[p].box = box;
		producers[p].letters = calloc(LETTERS, sizeof(struct letter));
		assert_non_null(producers[p].letters);
		for (unsigned i = 0; i < LETTERS; i++) {
			producers[p].letters[i].producer = p;
			producers[p].letters[i].number = i;
		}
		assert_int_equal(pthread_create(&producers[p].thread, NULL, produce, &producers[p]), 0);
	}
	while (got < PRODUCERS * LETTERS) {
		struct pollfd fd = {.fd = mailbox_fd(box), .events = POLLIN};

		/* A lost wake-up would wait here for ever. */
		assert_int_equal(poll(&fd, 1, -1), 1);
		for (struct mail *mail = mailbox_take(box); mail; mail = mail->next) {
			struct letter *letter = MAIL_CONTAINER(mail, struct letter, mail);

			assert_int_equal(letter->number, next[letter->producer]++);
			got++;
		}
	}
	for (unsigned p = 0; p < PRODUCERS; p++) {
		pthread_join(producers[p].thread, NULL);
		free(producers[p].letters);
	}
	assert_null(mailbox_take(box));
	mailbox_free(box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mail_comes_out_oldest_first_and_the_fd_is_rearmed),
		cmocka_unit_test(held_back_wakes_come_with_the_release),
		cmocka_unit_test(more_boxes_than_can_be_held_are_woken_at_once),
		cmocka_unit_test(many_producers_lose_nothing_and_each_keeps_its_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
