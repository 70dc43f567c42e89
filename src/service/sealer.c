#include "service/sealer.h"

#include <stdlib.h>
#include <string.h>

struct entry {
	struct idmap_node by_agent;
	char agent[LIMIT_ID + 1], key_id[RANDOM_ID_LEN + 1];
	struct envelope_sender *sender;
};

struct sealer {
	struct idmap entries;
	struct buf scratch;
};

int sealer_new(struct sealer **out)
{
	struct sealer *sealer = calloc(1, sizeof(*sealer));

	if (!sealer)
		return -PTA_ENOMEM;
	if (idmap_init(&sealer->entries) < 0) {
		free(sealer);
		return -PTA_ENOMEM;
	}
	sealer->scratch = BUF_INIT(LIMIT_SEALED);
	*out = sealer;
	return 0;
}

static void entry_free(struct sealer *sealer, struct entry *entry)
{
	idmap_remove(&sealer->entries, &entry->by_agent);
	envelope_sender_free(entry->sender);
	free(entry);
}

void sealer_free(struct sealer *sealer)
{
	struct idmap_node *node;

	if (!sealer)
		return;
	while ((node = idmap_next(&sealer->entries, NULL)))
		entry_free(sealer, IDMAP_CONTAINER(node, struct entry, by_agent));
	idmap_done(&sealer->entries);
	buf_done(&sealer->scratch);
	free(sealer);
}

static struct entry *find(const struct sealer *sealer, const char *agent)
{
	struct idmap_node *node = idmap_find(&sealer->entries, agent);

	return node ? IDMAP_CONTAINER(node, struct entry, by_agent) : NULL;
}

/* The sender for this key, which takes the place of one for an older key of the agent. */
static int sender_get(struct sealer *sealer, const struct dispatch_candidate *candidate, struct envelope_sender **out)
{
	struct entry *entry = find(sealer, candidate->agent);
	struct envelope_sender *sender;
	int r;

	if (entry && !strcmp(entry->key_id, candidate->key_id)) {
		*out = entry->sender;
		return 0;
	}
	r = envelope_sender_new(candidate->public_key, &sender);
	if (r < 0)
		return r;
	if (!entry) {
		entry = calloc(1, sizeof(*entry));
		if (!entry) {
			envelope_sender_free(sender);
			return -PTA_ENOMEM;
		}
		memcpy(entry->agent, candidate->agent, sizeof(entry->agent));
		idmap_put(&sealer->entries, entry->agent, &entry->by_agent);
	}
	envelope_sender_free(entry->sender);
	entry->sender = sender;
	memcpy(entry->key_id, candidate->key_id, sizeof(entry->key_id));
	*out = sender;
	return 0;
}

static int seal_one(struct sealer *sealer, const struct envelope_request *plain, const struct dispatch_candidate *candidate,
	const struct dispatch_request *request, unsigned attempt, struct dispatch_slot *slot)
{
	struct envelope_head head = {.attempt = attempt, .expires_ms = request->expires_ms};
	struct envelope_sender *sender;
	uint64_t seq;
	int r = sender_get(sealer, candidate, &sender);

	if (r < 0)
		return r;
	memcpy(head.tenant, request->tenant, sizeof(head.tenant));
	memcpy(head.agent, candidate->agent, sizeof(head.agent));
	memcpy(head.key_id, candidate->key_id, sizeof(head.key_id));
	memcpy(head.request_id, request->id, sizeof(head.request_id));
	buf_reset(&sealer->scratch);
	r = envelope_seal_request(sender, &head, plain, &sealer->scratch, &seq, slot->answer_key);
	if (r < 0)
		return r;
	r = dispatch_copy_new(&head, envelope_sender_enc(sender), seq, sealer->scratch.data, sealer->scratch.len, &slot->copy);
	if (r < 0) {
		secret_wipe(slot->answer_key, sizeof(slot->answer_key));
		return r;
	}
	slot->session = candidate->session;
	memcpy(slot->agent, candidate->agent, sizeof(slot->agent));
	memcpy(slot->key_id, candidate->key_id, sizeof(slot->key_id));
	return 0;
}

static void unseal(struct dispatch_request *request, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		dispatch_copy_free(request->slots[i].copy);
		request->slots[i].copy = NULL;
		secret_wipe(request->slots[i].answer_key, sizeof(request->slots[i].answer_key));
	}
}

int sealer_seal(
	struct sealer *sealer, const struct envelope_request *plain, const struct dispatch_candidate *candidates, size_t n, struct dispatch_request *request)
{
	size_t sealed = 0;

	request->nslots = 0;
	for (size_t i = 0; i < n; i++) {
		int r = seal_one(sealer, plain, &candidates[i], request, (unsigned)sealed + 1, &request->slots[sealed]);

		/* A public key that nothing can be sealed for is that agent's fault and must not cost the others of its group. */
		if (r == -PTA_ECRYPTO)
			continue;
		if (r < 0) {
			unseal(request, sealed);
			return r;
		}
		sealed++;
	}
	request->nslots = (unsigned)sealed;
	return sealed ? 0 : -PTA_ECRYPTO;
}

void sealer_prune(struct sealer *sealer, struct dispatch *dispatch)
{
	struct idmap_node *next;

	for (struct idmap_node *node = idmap_next(&sealer->entries, NULL); node; node = next) {
		struct entry *entry = IDMAP_CONTAINER(node, struct entry, by_agent);

		next = idmap_next(&sealer->entries, node);
		if (!dispatch_key_lives(dispatch, entry->agent, entry->key_id))
			entry_free(sealer, entry);
	}
}

size_t sealer_senders(const struct sealer *sealer)
{
	return sealer->entries.n;
}
