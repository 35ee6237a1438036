const fs = require('node:fs')
const { CompressionCodecs, CompressionTypes, Kafka } = require('kafkajs')
const lz4 = require('lz4js')

// The topics are stored as lz4, which kafkajs leaves to a plug-in.
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
})

const { KAFKA = '127.0.0.1:9092', KAFKA_USERNAME, KAFKA_PASSWORD, KAFKA_CA_FILE } = process.env

exports.kafka = new Kafka({
  brokers: KAFKA.split(','),
  ssl: KAFKA_CA_FILE ? { ca: [fs.readFileSync(KAFKA_CA_FILE)] } : false,
  sasl: KAFKA_USERNAME
    ? { mechanism: 'scram-sha-512', username: KAFKA_USERNAME, password: KAFKA_PASSWORD }
    : undefined,
})
