// Holds src/wire/hpke.c to @hpke/core, in both directions: node hpke.mjs PATH/hpke_tool
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { Aes128Gcm, Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";

const toolPath = process.argv[2];
const hex = (bytes) => Buffer.from(bytes).toString("hex") || "-";
const bytes = (text) => new Uint8Array(text === "-" ? [] : Buffer.from(text, "hex"));
const text = (string) => new TextEncoder().encode(string);

// A running hpke_tool: each line that is written is answered by one line.
class Tool {
	constructor(...args) {
		this.child = spawn(toolPath, args.map(String), { stdio: ["pipe", "pipe", "inherit"] });
		this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
		this.exit = once(this.child, "exit");
	}
	async read() {
		const { value, done } = await this.lines.next();
		assert(!done, "hpke_tool ended early");
		return value;
	}
	ask(...words) {
		this.child.stdin.write(words.join(" ") + "\n");
		return this.read();
	}
	async close() {
		this.child.stdin.end();
		const [status] = await this.exit;
		assert.equal(status, 0);
	}
}

const aeads = [
	["AES-128-GCM", 1, Aes128Gcm],
	["AES-256-GCM", 2, Aes256Gcm],
];
const infos = [text("pta envelope v1"), new Uint8Array(0)];
const messages = [
	[text("aad"), text("hello")],
	[new Uint8Array(0), text("no aad")],
	[text("no plaintext"), new Uint8Array(0)],
	[new Uint8Array(300).fill(7), new Uint8Array(2560).fill(9)],
	...Array.from({ length: 260 }, (_, i) => [text(`aad ${i}`), text(`message ${i}`)]),
];
const contexts = [[new Uint8Array(0), 32], [text("pta answer v1"), 32], [text("long"), 64], [text("short"), 1]];

const suiteOf = (Aead) => new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aead() });

async function theyOpenWhatWeSeal(aeadId, Aead, info) {
	const suite = suiteOf(Aead);
	const pair = await suite.kem.generateKeyPair();
	const tool = new Tool("seal", aeadId, hex(await suite.kem.serializePublicKey(pair.publicKey)), hex(info));
	const enc = bytes((await tool.read()).replace(/^enc /, ""));
	const recipient = await suite.createRecipientContext({ recipientKey: pair.privateKey, enc, info });
	let number = 0;
	for (const [aad, plain] of messages) {
		const [seq, sealed] = (await tool.ask("seal", hex(aad), hex(plain))).split(" ");
		assert.equal(Number(seq), number++);
		assert.deepEqual(new Uint8Array(await recipient.open(bytes(sealed), aad)), plain);
	}
	for (const [context, length] of contexts)
		assert.equal(await tool.ask("export", hex(context), length), hex(await recipient.export(context, length)));
	await tool.close();
}

async function weOpenWhatTheySeal(aeadId, Aead, info) {
	const suite = suiteOf(Aead);
	const tool = new Tool("open", aeadId, hex(info));
	const publicKey = bytes((await tool.read()).replace(/^public /, ""));
	const sender = await suite.createSenderContext({ recipientPublicKey: await suite.kem.deserializePublicKey(publicKey), info });
	assert.equal(await tool.ask("enc", hex(sender.enc)), "ok");
	const sealed = [];
	for (const [aad, plain] of messages)
		sealed.push(new Uint8Array(await sender.seal(plain, aad)));
	// The last first: our receiver takes any order.
	for (let i = messages.length - 1; i >= 0; i--) {
		const [aad, plain] = messages[i];
		assert.equal(await tool.ask("open", i, hex(aad), hex(sealed[i])), hex(plain));
	}
	const changed = sealed[0].slice();
	changed[0] ^= 1;
	assert.equal(await tool.ask("open", 0, hex(messages[0][0]), hex(changed)), "refused");
	assert.equal(await tool.ask("open", 1, hex(messages[0][0]), hex(sealed[0])), "refused");
	assert.equal(await tool.ask("open", 0, hex(text("other")), hex(sealed[0])), "refused");
	for (const [context, length] of contexts)
		assert.equal(await tool.ask("export", hex(context), length), hex(await sender.export(context, length)));
	await tool.close();
}

let passed = 0;
let failed = 0;
for (const [name, aeadId, Aead] of aeads)
	for (const info of infos)
		for (const test of [theyOpenWhatWeSeal, weOpenWhatTheySeal])
			try {
				await test(aeadId, Aead, info);
				passed++;
			} catch (error) {
				failed++;
				console.error(`${test.name}, ${name}, info of ${info.length} bytes: ${error.stack}`);
			}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
