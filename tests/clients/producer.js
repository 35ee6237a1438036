const { randomUUID } = require('node:crypto')
const { Partitioners } = require('kafkajs')
const { kafka } = require('./kafka')

const request = {
  request_id: randomUUID(),
  tenant: 'meridian',
  template: 'network-config@1',
  variables: { device_name: 'osl-01-acc-03', requirements: 'VLAN 110 (users), NTP 10.1.0.10' },
}

async function submit() {
  // The default partitioner places a key as the Java client and our SDK do: equal questions meet.
  const producer = kafka.producer({ idempotent: true, createPartitioner: Partitioners.DefaultPartitioner })
  await producer.connect()
  await producer.send({
    topic: 'llm.requests',
    acks: -1,
    messages: [{ key: 'config osl-01-acc-03', value: JSON.stringify(request) }],
  })
  await producer.disconnect()
  console.log(request.request_id)
}

submit().catch((error) => {
  console.error(`not accepted, send it again: ${error.message}`)
  process.exitCode = 1
})
