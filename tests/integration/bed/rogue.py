"""An agent of the tests' own: registered and with a valid certificate, it says whatever a test wants."""

import base64
import os
import secrets
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.x509.oid import NameOID

from . import poll
from .ca import key_pem
from .client import Client
from .poll import lp


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def csr(key, name="rogue"):
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def token_parts(token):
    """The id and the secret of a registration token."""
    body = unb64(token.removeprefix("pta1."))
    length = int.from_bytes(body[1:3], "big")
    return body[3:3 + length].decode(), body[3 + length:3 + length + 32]


class Rogue:
    def __init__(self, folder, service, group="main"):
        self.folder, self.service = folder, service
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.instance = secrets.token_hex(16)
        self.polls = 0
        answer = self.register(service.token(group))
        assert answer.status == 200, answer
        self.agent, self.tenant = answer.json["agent"], answer.json["tenant"]
        self.paths = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
        for path, data in zip(self.paths, (answer.json["certificate"].encode(), key_pem(self.key))):
            with open(path, "wb") as out:
                out.write(data)
        self.client = Client(service.agent_port, service.ca, *self.paths)

    def register(self, token, key=None):
        number, secret = token_parts(token)
        with Client(self.service.agent_port, self.service.ca) as client:
            return client.post("/v1/agent/register", {"token_id": number, "token": b64(secret), "csr": csr(key or self.key), "host": "rogue", "version": "0"})

    def publish(self, public=None, key_id=None, signer=None, agent=None, **changes):
        """Publishes an HPKE key, signed by the certificate's key where no other is given."""
        public = public or x25519.X25519PrivateKey.generate().public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.key_id = key_id or secrets.token_hex(16)
        until = int(time.time() * 1000) + 3600_000
        signed = b"".join(map(lp, (b"pta agent key v1", self.tenant.encode(), (agent or self.agent).encode(), self.instance.encode(), self.key_id.encode(),
                                   public))) + until.to_bytes(8, "big")
        signature = (signer or self.key).sign(signed, ec.ECDSA(hashes.SHA256()))
        return self.client.post("/v1/agent/keys", {"instance": self.instance, "key_id": self.key_id, "public": b64(public), "not_after_ms": until,
                                                   "signature": b64(signature), **changes})

    def message(self, credit=1, results=(), **changes):
        """The next poll, as poll.encode() writes it."""
        self.polls += 1
        return poll.encode(**{"instance": self.instance, "number": self.polls, "credit": credit, "results": results, **changes})

    def poll(self, *args, **changes):
        return self.say(self.message(*args, **changes))

    def say(self, message, **headers):
        return poll.post(self.client, message, **headers)

    def take(self):
        """Polls until a request comes; gives it."""
        while True:
            answer = self.poll()
            if answer.status != 204:
                return poll.batch(answer).requests[0]

    def bring(self, *results, **changes):
        """A poll with results that asks for nothing."""
        return self.poll(0, results, **changes)

    def close(self):
        self.client.close()
