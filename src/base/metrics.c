#include "base/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

#define LABEL_VALUE_MAX 256

/* Upper bounds in microseconds, and as they are written. */
static const struct {
	uint64_t us;
	const char *le;
} buckets[] = {
	{500, "0.0005"},
	{1000, "0.001"},
	{2500, "0.0025"},
	{5000, "0.005"},
	{10000, "0.01"},
	{25000, "0.025"},
	{50000, "0.05"},
	{100000, "0.1"},
	{250000, "0.25"},
	{500000, "0.5"},
	{1000000, "1"},
	{2500000, "2.5"},
	{5000000, "5"},
	{10000000, "10"},
};

#define BUCKETS PTA_ARRAY_SIZE(buckets)

struct metric_series {
	struct metric_series *next;
	char *labels; /* as rendered: a="x",b="y"; "" without labels. It is what two series differ by */
	enum metric_type type;
	unsigned uses; /* how often it was asked for and not forgotten */
	_Atomic uint64_t value;		      /* counter, or gauge as int64_t; a histogram's sum in microseconds */
	_Atomic uint64_t counts[BUCKETS + 1]; /* not cumulative; the last is above all bounds */
};

struct metric {
	struct metric *next;
	enum metric_type type;
	const char *name, *help;
	const char *const *label_names;
	struct metric_series *series;
	size_t n_series;
};

/* Guards the lists of metrics and of their series, not the values. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric *metrics;

static void *must(void *memory)
{
	if (!memory)
		abort(); /* at start, as the header says, or a few bytes for a series later */
	return memory;
}

struct metric *metric_new(enum metric_type type, const char *name, const char *help, const char *const *labels)
{
	struct metric **end = &metrics, *metric;

	pthread_mutex_lock(&lock);
	for (; (metric = *end); end = &metric->next)
		if (!strcmp(metric->name, name))
			break;
	if (!metric) {
		metric = *end = must(calloc(1, sizeof(*metric)));
		*metric = (struct metric){.type = type, .name = name, .help = help, .label_names = labels};
	}
	pthread_mutex_unlock(&lock);
	return metric;
}

/* The exposition format knows three escapes; it must be UTF-8. */
static void put_label_value(struct buf *out, const char *value)
{
	size_t len = strnlen(value, LABEL_VALUE_MAX), n;

	for (; len; value += n, len -= n) {
		n = utf8_printable(value, len);
		if (*value == '\n')
			buf_puts(out, "\\n");
		else if (*value == '"' || *value == '\\')
			buf_printf(out, "\\%c", *value);
		else if (n)
			buf_put(out, value, n);
		else
			buf_putc(out, '?');
		n = n ? n : 1;
	}
}

/* As they are rendered; malloced. values NULL: of the series for all that is over the limit. */
static char *labels_of(const struct metric *metric, const char *const *values)
{
	struct buf out = BUF_INIT(METRIC_MAX_LABELS * 1024);

	for (size_t i = 0; metric->label_names && metric->label_names[i]; i++) {
		buf_printf(&out, "%s%s=\"", i ? "," : "", metric->label_names[i]);
		put_label_value(&out, values ? values[i] : "other");
		buf_putc(&out, '"');
	}
	if (!buf_ok(&out))
		abort();
	return out.len ? (char *)out.data : must(strdup(""));
}

/* Where the series with these labels is, or would be put. */
static struct metric_series **find(struct metric *metric, const char *labels)
{
	struct metric_series **place = &metric->series;

	while (*place && strcmp((*place)->labels, labels) != 0)
		place = &(*place)->next;
	return place;
}

/* Takes labels. NULL when there are `limit` series already. */
static struct metric_series *find_or_add(struct metric *metric, char *labels, size_t limit)
{
	struct metric_series **place = find(metric, labels);

	if (*place || metric->n_series >= limit) {
		free(labels);
		return *place;
	}
	*place = must(calloc(1, sizeof(**place)));
	(*place)->type = metric->type;
	(*place)->labels = labels;
	metric->n_series++;
	return *place;
}

struct metric_series *metric_at(struct metric *metric, const char *const *values)
{
	char *labels = labels_of(metric, values);
	struct metric_series *series;

	pthread_mutex_lock(&lock);
	/* The last place is kept for "other". */
	series = find_or_add(metric, labels, METRIC_MAX_SERIES - 1);
	if (!series)
		series = find_or_add(metric, labels_of(metric, NULL), METRIC_MAX_SERIES);
	series->uses++;
	pthread_mutex_unlock(&lock);
	return series;
}

void metric_forget(struct metric *metric, const char *const *values)
{
	char *labels = labels_of(metric, values);
	struct metric_series **place, *series;

	pthread_mutex_lock(&lock);
	place = find(metric, labels);
	series = *place;
	if (series && --series->uses == 0) {
		*place = series->next;
		metric->n_series--;
		free(series->labels);
		free(series);
	}
	pthread_mutex_unlock(&lock);
	free(labels);
}

void metric_add(struct metric_series *series, uint64_t n)
{
	atomic_fetch_add_explicit(&series->value, n, memory_order_relaxed);
}

void metric_set(struct metric_series *series, int64_t value)
{
	atomic_store_explicit(&series->value, (uint64_t)value, memory_order_relaxed);
}

void metric_gauge_add(struct metric_series *series, int64_t delta)
{
	atomic_fetch_add_explicit(&series->value, (uint64_t)delta, memory_order_relaxed);
}

void metric_observe_us(struct metric_series *series, uint64_t us)
{
	size_t i = 0;

	while (i < BUCKETS && us > buckets[i].us)
		i++;
	atomic_fetch_add_explicit(&series->counts[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&series->value, us, memory_order_relaxed);
}

uint64_t metric_value(const struct metric_series *series)
{
	uint64_t count = 0;

	if (series->type != METRIC_HISTOGRAM)
		return atomic_load_explicit(&series->value, memory_order_relaxed);
	for (size_t i = 0; i <= BUCKETS; i++)
		count += atomic_load_explicit(&series->counts[i], memory_order_relaxed);
	return count;
}

/* "name" or "name{labels}" and a blank. */
static void put_name(struct buf *out, const char *name, const char *suffix, const char *labels)
{
	if (*labels)
		buf_printf(out, "%s%s{%s} ", name, suffix, labels);
	else
		buf_printf(out, "%s%s ", name, suffix);
}

/* The count is the sum of the buckets as they were read, so that the lines agree with each other. */
static void put_histogram(struct buf *out, const char *name, const struct metric_series *series)
{
	const char *comma = *series->labels ? "," : "";
	uint64_t sum = atomic_load_explicit(&series->value, memory_order_relaxed), count = 0;

	for (size_t i = 0; i <= BUCKETS; i++) {
		count += atomic_load_explicit(&series->counts[i], memory_order_relaxed);
		buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name, series->labels, comma, i < BUCKETS ? buckets[i].le : "+Inf", count);
	}
	put_name(out, name, "_sum", series->labels);
	buf_printf(out, "%" PRIu64 ".%06" PRIu64 "\n", sum / 1000000, sum % 1000000);
	put_name(out, name, "_count", series->labels);
	buf_printf(out, "%" PRIu64 "\n", count);
}

static void put_metric(struct buf *out, const struct metric *metric)
{
	static const char *const types[] = {[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name, types[metric->type]);
	for (const struct metric_series *series = metric->series; series; series = series->next) {
		if (metric->type == METRIC_HISTOGRAM) {
			put_histogram(out, metric->name, series);
			continue;
		}
		put_name(out, metric->name, "", series->labels);
		if (metric->type == METRIC_GAUGE)
			buf_printf(out, "%" PRId64 "\n", (int64_t)metric_value(series));
		else
			buf_printf(out, "%" PRIu64 "\n", metric_value(series));
	}
}

void metrics_render(struct buf *out)
{
	pthread_mutex_lock(&lock);
	for (const struct metric *metric = metrics; metric; metric = metric->next)
		if (metric->series)
			put_metric(out, metric);
	pthread_mutex_unlock(&lock);
}
