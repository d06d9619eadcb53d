// SPDX-FileCopyrightText: 2026 mailgate contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Prints, for each path of a message on standard input, one line of JSON: [[reader, file in base64], …], with the files
// that mailparser and postal-mime extract and that contain one of the marks (arguments, in hexadecimal).
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

// The packages are in the working directory.
const require = createRequire(pathToFileURL(process.cwd() + '/'));
const { simpleParser } = require('mailparser');
const PostalMime = (await import(pathToFileURL(require.resolve('postal-mime')))).default;
const marks = process.argv.slice(2).map((mark) => Buffer.from(mark, 'hex'));

async function mailparser(raw) {
  const mail = await simpleParser(raw, { skipImageLinks: true });
  return [...mail.attachments.map((file) => file.content), mail.text, mail.html];
}

async function postalMime(raw) {
  const mail = await PostalMime.parse(raw);
  return [...mail.attachments.map((file) => file.content), mail.text, mail.html];
}

for await (const path of createInterface({ input: process.stdin })) {
  const raw = readFileSync(path);
  const found = [];
  for (const [name, read] of [['mailparser', mailparser], ['postal-mime', postalMime]]) {
    let files = [];
    try {
      files = await read(raw);
    } catch {
      // A message that this reader cannot open.
    }
    for (const file of files) {
      const bytes = file ? Buffer.from(file) : Buffer.alloc(0);
      if (marks.some((mark) => bytes.includes(mark))) found.push([name, bytes.toString('base64')]);
    }
  }
  console.log(JSON.stringify(found));
}
