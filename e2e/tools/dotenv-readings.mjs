// What Node.js, npm's dotenv or kubectl reads in each file of a folder, as JSON; null for a file that it refuses. For
// e2e/tools/dotenv-readings.
import { spawnSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { parseEnv } from 'node:util'

const [program, corpus, place] = process.argv.slice(2)

function kubectl (...args) {
  return spawnSync(place, args, { encoding: 'utf8' })
}

function createdByKubectl (file) {
  const done = kubectl('create', 'secret', 'generic', 'read', `--from-env-file=${file}`, '--dry-run=client', '--output=json')
  if (done.status !== 0) return null
  const data = JSON.parse(done.stdout).data ?? {}
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]))
}

function reader () {
  switch (program) {
    case 'node':
      return { name: `Node.js ${process.version}`, read: file => parseEnv(readFileSync(file, 'utf8')) }
    case 'npm-dotenv': {
      const require = createRequire(join(place, 'package.json'))
      const dotenv = require('dotenv')
      const version = require('dotenv/package.json').version
      return { name: `dotenv ${version} of npm`, read: file => dotenv.parse(readFileSync(file, 'utf8')) }
    }
    case 'kubectl': {
      const version = JSON.parse(kubectl('version', '--client', '--output=json').stdout).clientVersion.gitVersion
      return { name: `kubectl ${version}`, read: createdByKubectl }
    }
    default:
      throw new Error(`no reader is called ${program}`)
  }
}

const { name, read } = reader()
const sorted = found => found && Object.fromEntries(Object.entries(found).sort(([a], [b]) => (a < b ? -1 : 1)))
const readings = Object.fromEntries(
  readdirSync(corpus).filter(file => file.endsWith('.env')).sort().map(file => [file, sorted(read(join(corpus, file)))])
)
const escaped = text => text.replace(/[\u007f-\uffff]/g, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'))
console.log(escaped(JSON.stringify({ program: name, readings }, null, 1)))
