const { kafka } = require('./kafka')

const consumer = kafka.consumer({ groupId: process.env.GROUP ?? 'headrace-subscriber-portal' })
const seen = new Set() // a table in your database, in earnest

async function follow() {
  await consumer.connect()
  await consumer.subscribe({ topic: 'llm.results', fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ topic, partition, message }) => {
      let result
      try {
        result = JSON.parse(message.value.toString())
      } catch {
        return console.error('skipped what is no result', topic, partition, message.offset)
      }
      if (seen.has(result.request_id)) return // delivery is at least once
      seen.add(result.request_id)
      if (result.status === 'completed') console.log(result.request_id, result.source, result.answer.text)
      else console.error(result.request_id, result.status, result.error?.code)
    },
  })
}

process.once('SIGTERM', () => consumer.disconnect()) // leaves the group, so that others take over at once
follow()
