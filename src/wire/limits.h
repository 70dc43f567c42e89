/* Sizes that both programs hold each other to. */
#ifndef PTA_WIRE_LIMITS_H
#define PTA_WIRE_LIMITS_H

#define LIMIT_USERNAME 1024	/* bytes of UTF-8 as typed */
#define LIMIT_PASSWORD 1024	/* bytes */
#define LIMIT_DOMAIN 255	/* bytes of a DNS name, UPN suffix or NetBIOS name */
#define LIMIT_CORRELATION_ID 64 /* printable ASCII */
#define LIMIT_CLIENT_IP 45
#define LIMIT_ID 64		/* tenant, group, agent, app, domain labels and key ids: [a-z0-9._-] */
#define LIMIT_TENANT 64
#define LIMIT_CREDIT 1024	/* requests in one poll's answer */
#define LIMIT_RESULTS 1024	/* results that one poll brings */
#define LIMIT_SEALED 4096	/* one sealed request */
#define LIMIT_ANSWER 1024	/* one sealed answer */
#define LIMIT_SIGNIN_BODY 16384
#define LIMIT_KEY_BODY 1024 /* a published key */
#define LIMIT_REGISTER_BODY 20480 /* and of a renewal; a CSR whose every byte is escaped does not fit, PEM does */
#define LIMIT_CERTIFICATE_BODY 36864
#define LIMIT_POLL_BODY (2u << 20) /* with its results */
#define LIMIT_BATCH_BODY (8u << 20)
#define LIMIT_CSR 8192
#define LIMIT_CERTIFICATE 16384
#define LIMIT_TOKEN 8192
#define LIMIT_DETAIL 256 /* the directory's raw answer, for the log */

#define LIMIT_WALL_MS 253402300799999 /* 9999-12-31: a thousandfold fits 64 bits */

#define SIGNIN_DEADLINE_MS 10000 /* default, from sign-in to answer */
#define POLL_HOLD_MS 25000
#define POLL_HOLD_RESULTS_MS 200 /* of a poll that brought results: its answer is their receipt */
#define AGENT_ONLINE_MS 60000
#define CERTIFICATE_DAYS 30

#endif
